// Sleeping on a word of shared memory. Only this layout needs it: its peers know no other way to wake or to be woken.
#pragma once

#include <span>

#include "layout.hpp"

namespace spanwire::barretenberg {

inline constexpr std::int64_t for_ever = -1;

// Sleeps while the word has that value, at most `timeout_ns`. Returns for no reason, too: look again. Blocks.
void sleep_on(u32& word, u32 value, std::int64_t timeout_ns) noexcept;

// Wakes whoever sleeps on the word, in any process that maps it. A system call of about 300 ns.
void wake_sleepers(u32& word) noexcept;

struct watched_word {
  u32* word;
  u32 value;
};

// Sleeps until one of the words is woken or differs, at most `timeout_ns`. Returns for no reason, too. Blocks.
// False: this kernel (before 5.16), or its sandbox, does not know how.
[[nodiscard]] bool sleep_on_any(std::span<const watched_word> words, std::int64_t timeout_ns) noexcept;

} // namespace spanwire::barretenberg
