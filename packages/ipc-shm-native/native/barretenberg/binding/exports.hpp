// What the addon offers for this layout.
#pragma once

#include <napi.h>

namespace spanwire::barretenberg {

// Adds `createBarretenberg`, where the platform has what it takes (Linux).
void add_exports(Napi::Env env, Napi::Object exports);

} // namespace spanwire::barretenberg
