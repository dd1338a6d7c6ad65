// Forks clients that talk to a server without pause, and kills each with SIGKILL at a random moment of its life: so many
// steps after its birth, and then some microseconds.
//   mortal PATH HELLO-IN-HEX SEED COUNT IN-FLIGHT
// Prints a line of JSON in the end: how many were killed at all, and after their handshake, and what they had sent.
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include <csignal>
#include <ctime>

#include "../../native/platform/doorbell.hpp"
#include "party.hpp"

using namespace peers;

namespace {

// Steps of a life that others see: in memory that the parent shares.
struct alignas(128) life {
  u32 steps;
  u32 ready; // 1: the server was told that the memory is mapped
};

enum handshake : u32 { born = 0, connected = 1, greeted = 2, mapped = 3, last = 4 };

void step(life& mine) {
  std::atomic_ref(mine.steps).fetch_add(1);
}

void ring_if_asleep(connection& to) {
  if (spanwire::ring::peer_waits(to.ring.peer->waiting_data) &&
      spanwire::ring::take_duty_to_ring(to.ring.peer->waiting_data)) {
    spanwire::platform::ring_doorbell(to.socket.get());
  }
}

// Requests of all sizes, the large ones in fragments; answers are taken as they come.
[[noreturn]] void talk(connection& with, dice& chance, life& mine) {
  constexpr u32 fragment_bytes = 1024;
  spanwire::ring::producer out{with.ring.data_out};
  spanwire::ring::consumer in{with.ring.data_in};
  spanwire::ring::consumer control{with.ring.control_in};
  u32 id = 0;
  u32 left = 0; // of a fragmented message
  for (;;) {
    const bool fresh = left == 0;
    const u32 total = !fresh ? left : chance.one_in(4) ? 1 + chance.below(20'000) : chance.below(fragment_bytes);
    const u32 length = std::min(total, fragment_bytes);
    const u32 prefix = fresh && length < total ? 8 : 0;
    if (std::byte* const payload = out.try_claim(prefix + length)) {
      if (fresh) ++id;
      if (prefix > 0) std::memcpy(payload, std::array{total, 0u}.data(), prefix);
      std::memset(payload + prefix, static_cast<int>(id), length);
      left = total - length;
      out.commit((prefix + length) | (left > 0 ? flag_more : 0), kind_and_id(request, id));
      // Some are written and not published yet when the end comes.
      if (!chance.one_in(3)) out.flush();
    } else {
      out.flush();
      sched_yield();
    }
    ring_if_asleep(with);
    step(mine);
    spanwire::ring::record got;
    if (in.refresh()) {
      while (in.take(got)) step(mine);
      in.release_all();
    }
    if (control.refresh()) {
      while (control.take(got)) continue;
      control.release_all();
    }
  }
}

[[noreturn]] void live(const std::string& path, const bytes& hello, u64 seed, life& mine) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dice chance{seed};
  auto socket = connect_to(path);
  step(mine);
  // In two parts now and then: half a hello is a moment to die, too.
  const std::size_t half = chance.one_in(4) ? hello.size() / 2 : hello.size();
  send_bytes(socket.get(), std::span{hello}.first(half));
  if (half < hello.size()) send_bytes(socket.get(), std::span{hello}.subspan(half));
  step(mine);
  auto made = await_memory(std::move(socket));
  if (!made) give_up("the server refused");
  step(mine);
  send_bytes(made->socket.get(), {&ready_byte, 1});
  // Not before: whoever is killed in between is no client.
  std::atomic_ref(mine.ready).store(1);
  step(mine);
  talk(*made, chance, mine);
}

struct victim {
  pid_t pid = 0;
  u32 dies_after = 0;
  u32 microseconds = 0;
};

} // namespace

int main(int count, char** arguments) {
  if (count != 6) give_up("usage");
  const std::string path = arguments[1];
  const bytes hello = from_hex(arguments[2]);
  const u64 seed = std::stoull(arguments[3]);
  const u32 wanted = static_cast<u32>(std::stoul(arguments[4]));
  const u32 in_flight = static_cast<u32>(std::stoul(arguments[5]));
  dice chance{seed};

  void* const shared =
      mmap(nullptr, in_flight * sizeof(life), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) give_up("mmap");
  life* const lives = static_cast<life*>(shared);
  std::vector<victim> victims(in_flight);
  u32 started = 0;
  u32 killed = 0;
  u32 ready = 0;
  u64 steps = 0;
  while (killed < wanted) {
    for (u32 i = 0; i < in_flight; ++i) {
      victim& each = victims[i];
      if (each.pid == 0) {
        if (started == wanted) continue;
        lives[i] = {};
        const u64 own_seed = seed + ++started;
        // Every third in its handshake, or right after it.
        each.dies_after = chance.one_in(3) ? chance.below(handshake::last + 1) : handshake::last + chance.below(3000);
        each.microseconds = chance.one_in(2) ? 0 : chance.below(200);
        each.pid = fork();
        if (each.pid < 0) give_up("fork");
        if (each.pid == 0) live(path, hello, own_seed, lives[i]);
      }
      if (waitpid(each.pid, nullptr, WNOHANG) != 0) give_up("a client ended by itself");
      if (std::atomic_ref(lives[i].steps).load() < each.dies_after) continue;
      const timespec moment{0, static_cast<long>(each.microseconds) * 1000};
      nanosleep(&moment, nullptr);
      kill(each.pid, SIGKILL);
      (void)waitpid(each.pid, nullptr, 0);
      each.pid = 0;
      ++killed;
      ready += lives[i].ready;
      steps += lives[i].steps;
    }
    sched_yield();
  }
  std::printf("{\"killed\":%u,\"ready\":%u,\"steps\":%llu}\n", killed, ready, static_cast<unsigned long long>(steps));
  return 0;
}
