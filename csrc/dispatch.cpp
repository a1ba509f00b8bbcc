#include "dispatch.h"

#include <cstring>

namespace featherbit {
namespace {

constexpr const KernelTable* kTables[] = {
#if defined(__x86_64__)
    &kAvx512VpopcntTable, &kAvx512Table, &kAvx2Table,
#elif defined(__aarch64__)
    &kNeonTable,
#endif
    &kScalarTable,
};

}  // namespace

std::span<const KernelTable* const> compiled_tables() { return kTables; }

const KernelTable* find_table(const char* name) {
    for (const KernelTable* table : kTables)
        if (std::strcmp(table->name, name) == 0) return table;
    return nullptr;
}

}  // namespace featherbit
