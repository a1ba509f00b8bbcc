// Which instruction sets this build holds and this processor runs.
#pragma once

#include <span>

#include "kernels.h"

namespace featherbit {

// Best first. What the build holds, and of that what this processor and system can run.
std::span<const KernelTable* const> compiled_tables();

// The table of that name, or null if the build does not hold it.
const KernelTable* find_table(const char* name);

}  // namespace featherbit
