// Repack the rows of a weight matrix into the panels that the kernels read; see kernels.h for the two orders.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <new>

namespace featherbit {

// Memory on cache-line boundaries, so that no 64-byte load of a panel is split.
struct FreeAligned {
    void operator()(void* at) const { std::free(at); }
};
template <class T>
using AlignedArray = std::unique_ptr<T[], FreeAligned>;

template <class T>
AlignedArray<T> make_aligned(std::size_t count) {
    constexpr std::size_t kLine = 64;
    const std::size_t bytes = (count * sizeof(T) + kLine - 1) / kLine * kLine;
    void* at = std::aligned_alloc(kLine, bytes == 0 ? kLine : bytes);
    if (at == nullptr) throw std::bad_alloc();
    return AlignedArray<T>(static_cast<T*>(at));
}

// weights: [n][words_per_row(k)] bits, 1 = +1. Returns uint32 [groups][2 * words][16].
AlignedArray<std::uint32_t> make_panel_u1(const std::uint64_t* weights, std::int64_t n, std::int64_t k);

// The same weights as uint64 [groups][quads].
AlignedArray<std::uint64_t> make_panel_u8(const std::uint64_t* weights, std::int64_t n, std::int64_t k);

}  // namespace featherbit
