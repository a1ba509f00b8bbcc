#include "panel.h"

#include <cstring>

#include "kernels.h"

namespace featherbit {

AlignedArray<std::uint32_t> make_panel_u1(const std::uint64_t* weights, std::int64_t n, std::int64_t k) {
    const std::int64_t words = words_per_row(k), groups = groups_of(n);
    const std::size_t count = static_cast<std::size_t>(groups * words * 2 * kGroup);
    AlignedArray<std::uint32_t> panel = make_aligned<std::uint32_t>(count);
    std::memset(panel.get(), 0, count * sizeof(std::uint32_t));
    for (std::int64_t column = 0; column < n; ++column) {
        const std::uint64_t* row = weights + column * words;
        std::uint32_t* to = panel.get() + column / kGroup * words * 2 * kGroup + column % kGroup;
        for (std::int64_t w = 0; w < words; ++w) {
            to[2 * w * kGroup] = static_cast<std::uint32_t>(row[w]);
            to[(2 * w + 1) * kGroup] = static_cast<std::uint32_t>(row[w] >> 32);
        }
    }
    return panel;
}

AlignedArray<std::uint64_t> make_panel_u8(const std::uint64_t* weights, std::int64_t n, std::int64_t k) {
    const std::int64_t words = words_per_row(k), groups = groups_of(n), quads = quads_of(k);
    const std::size_t count = static_cast<std::size_t>(groups * quads);
    AlignedArray<std::uint64_t> panel = make_aligned<std::uint64_t>(count);
    std::memset(panel.get(), 0, count * sizeof(std::uint64_t));
    for (std::int64_t column = 0; column < n; ++column) {
        const std::uint64_t* row = weights + column * words;
        std::uint64_t* to = panel.get() + column / kGroup * quads;
        for (std::int64_t q = 0; q < quads; ++q) {
            const std::uint64_t four = row[q / 16] >> (4 * (q % 16)) & 15u;
            to[q] |= four << (4 * (column % kGroup));
        }
    }
    return panel;
}

}  // namespace featherbit
