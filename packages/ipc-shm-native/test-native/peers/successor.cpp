// Connects as a well-behaved client does, then becomes another program: the process goes on, the client is no more.
//   successor PATH HELLO-IN-HEX PROGRAM [ARGUMENT ...]
#include "party.hpp"

int main(int count, char** arguments) {
  if (count < 4) peers::give_up("usage");
  const auto made = peers::greet(arguments[1], peers::from_hex(arguments[2]));
  if (!made) peers::give_up("the server refused");
  execvp(arguments[3], arguments + 3);
  peers::give_up(arguments[3]);
}
