// The contract of the native kernels: one table of function pointers per instruction set (ISA).
//
// Every function is exact for sizes from 0 up, never allocates, never throws, keeps no state, and runs on the calling
// thread alone: callers split the work. A matrix is rows of contiguous elements; a stride is the distance of two rows.
//
// Bits: element i of a row is bit i % 64 of its 64-bit word i / 64; the bits past the end of a row are zero.
//
// The lanes of a register are output columns. So weights are repacked once into panels of groups of 16 columns
// (`kGroup`), an order that serves every ISA: a register of 16, 8 or 4 lanes loads a part of a group's step.
//   panel of gemm_u1u1: uint32 [groups][words][16]: the same 32-bit word of 16 columns side by side;
//   panel of gemm_u8u1: uint64 [groups][quads], quad = 4 rows of k: bit 4 * column + (k % 4) of the word is the weight.
// Groups past the last column are padded with zero weights; their results are never stored.
#pragma once

#include <cstdint>

namespace featherbit {

// Loops over the registers of a tile: unrolled before the compiler decides what lives in a register.
#define FEATHERBIT_UNROLL _Pragma("GCC unroll 64")

constexpr std::int64_t kGroup = 16;
constexpr std::int64_t kWordBits = 64;

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }
constexpr std::int64_t words_per_row(std::int64_t k) { return ceil_div(k, kWordBits); }
constexpr std::int64_t groups_of(std::int64_t n) { return ceil_div(n, kGroup); }
constexpr std::int64_t quads_of(std::int64_t k) { return ceil_div(k, 4); }

// Where the tile of a product goes: as int32 (`acc`), or compared with a threshold per column and packed (`bits`):
// bit = (acc >= threshold) XOR flip. Exactly one of `acc` and `bits` is set.
struct Sink {
    std::int32_t* acc = nullptr;             // [m][n]
    std::int64_t acc_stride = 0;             // int32 elements
    bool stream = false;  // acc is larger than the caches: write past them; acc and its rows begin on 64-byte lines
    const std::int32_t* thresholds = nullptr;  // [groups_of(n) * 16], padded
    const std::uint64_t* flips = nullptr;      // [words_per_row(n)]
    std::uint64_t* bits = nullptr;             // [m][words_per_row(n)], tail bits are written zero
    std::int64_t bits_stride = 0;              // 64-bit words
};

struct KernelTable {
    const char* name;
    bool (*supported)();  // whether this processor and system can run the table

    // acc[m][n] = k - 2 * popcount(a[m] ^ b[n]): the products of +-1 rows of length k.
    // a: [m][words_per_row(k)]. |acc| <= k, so k < 2^31 cannot overflow.
    void (*gemm_u1u1)(const std::uint64_t* a, std::int64_t a_stride, std::int64_t m, const std::uint32_t* panel,
                      std::int64_t n, std::int64_t k, const Sink& sink);

    // acc[m][n] = sum_k a[m][k] * w[n][k], w = +-1. a: bytes [m][k]. |acc| <= 255 * k: exact for k <= 4,194,304.
    void (*gemm_u8u1)(const std::uint8_t* a, std::int64_t a_stride, std::int64_t m, const std::uint64_t* panel,
                      std::int64_t n, std::int64_t k, const Sink& sink);

    // bit = x >= 0: zero (of either sign) is 1, NaN is 0. x: [m][k], out: [m][words_per_row(k)].
    void (*pack_f32u1)(const float* x, std::int64_t m, std::int64_t k, std::uint64_t* out);

    // bit = (acc >= threshold) XOR flip. acc: [m][n] contiguous, sink.bits: where to.
    void (*threshold_i32u1)(const std::int32_t* acc, std::int64_t m, std::int64_t n, const Sink& sink);
};

extern const KernelTable kScalarTable;
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512Table;
extern const KernelTable kAvx512VpopcntTable;
extern const KernelTable kNeonTable;

}  // namespace featherbit
