// Products and thresholds split over threads.
#pragma once

#include "../kernels.h"

namespace featherbit {

// One product, its operands checked by the caller. Exactly one of the two pairs (a1, panel1) and (a8, panel8) is set.
struct Product {
    const KernelTable* table;
    std::int64_t n, k;
    const std::uint32_t* panel1 = nullptr;
    const std::uint64_t* panel8 = nullptr;
    std::int64_t stride = 0;  // words or bytes from row to row; 0: rows follow each other

    // Multiply `m` rows on the calling thread.
    void rows(const void* a, std::int64_t m, const Sink& sink) const;
    // Multiply `m` rows with columns begin .. end on the calling thread; `begin` is a multiple of 64, sink begins at it.
    void columns(const void* a, std::int64_t m, const Sink& sink, std::int64_t begin, std::int64_t end) const;
    // Multiply `m` rows on up to `threads` threads: rows are split if there are enough of them, else columns.
    void parallel(const void* a, std::int64_t m, const Sink& whole, int threads) const;
};

// Part `index` of `parts` nearly equal runs of 0 .. total, in multiples of `grain`.
struct Range {
    std::int64_t begin, end;
};
Range split(std::int64_t total, std::int64_t grain, std::int64_t parts, std::int64_t index);

}  // namespace featherbit
