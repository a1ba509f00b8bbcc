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
//   panel of conv_u1:   uint32 [groups][2 * words][16], as for gemm_u1u1, words = run_count * run_length;
//   panel of conv_u8s8: uint32 [groups][quads][16], quads = run_count * run_length: four int8 weights of a column in each;
//   panel of conv_u8s4: uint32 [groups][run_count][pairs][16], pairs = ceil(run_length / 2): eight int4 weights of a column,
//                       the four of the first quad in the low halves of the bytes, those of the second in the high ones.
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

// The activations of a convolution, read where they lie: row i of `m` begins at a + rows[i] and consists of `run_count` runs
// of `run_length` elements (64-bit words for conv_u1, quads of 4 bytes for conv_u8s8 and conv_u8s4), run j at runs[j] bytes from there.
// A row is an output pixel, a run the taps that lie side by side in memory.
struct Gather {
    const char* a = nullptr;
    const std::int64_t* rows = nullptr;  // [m], bytes
    std::int64_t m = 0;
    const std::int64_t* runs = nullptr;  // [run_count], bytes
    std::int64_t run_count = 0, run_length = 0;
    std::int64_t panel_stride = 0;       // uint32 from one group of the panel to the next
    std::int64_t panel_gap = 0;          // uint32 from the end of a run in the panel to the next one
    const std::int64_t* places = nullptr;  // [m]: the row of the block that row i goes to, plus first_place; null: i
    std::int64_t first_place = 0;

    std::int64_t place(std::int64_t row) const { return places != nullptr ? places[row] - first_place : row; }
};

// A block of 32-bit lanes, int32 or float32: rows of whole groups of 16, on 64-byte lines.
struct Block {
    std::int32_t* at = nullptr;
    std::int64_t stride = 0;  // lanes, a multiple of 16
};

enum class BitOp { exclusive_or, conjunction };

// What the lanes of a block become, one step after the other, and where they are stored. Arrays of parameters have one
// entry for each column, padded to whole groups.
enum class TileOpKind {
    correct,       // int: x += integers[row_class[row]][column] where the class is not 0
    max_rows,      // int: windows of `high` x `low` pixels become their maximum; fewer rows follow. An image row is `width`
                   // pixels; windows begin every `count` pixels, the first `shift` pixels before the row, and there are
                   // `across` of them; places outside the row are left out. Windows of several rows tile the image.
    affine,        // int to float: x = float(x) * reals[column] + more_reals[column], rounded once (fused) or twice
    affine_real,   // float to float: the same
    add,           // int: x = x * low + other * high + shift
    add_real,      // float: x += other
    mul_real,      // float: x *= other
    prelu,         // float: x = x > 0 ? x : reals[column] * x
    clamp,         // float: limit to real_low .. real_high; NaN stays NaN
    threshold,     // int to +-1: +1 where (x >= integers[column]) XOR flips[column]
    count,         // int to code: how many of `count` thresholds integers[j][column] x reaches; count less that where flips
    line,          // int to code: the same as count, by clip(rint(y), low, count), low = 0, y = float(x) * reals[column] +
                   // more_reals[column]; where that, clipped, is real_low or less from a tie, thresholds decide
    quantize,      // float to code: clip(rint(x / real_low), low, high) - low; NaN gives 0
    sign_real,     // float to +-1: +1 where x >= 0
    look_up,       // float: x = reals[clip(rint(x / real_low), -half, half - 1) + half], half = count / 2; NaN takes reals[0];
                   // `reals` is a table of `count` entries, the same for every column, count even and at most kMostEntries
    // What follows writes, what comes before does not.
    store_lanes,   // write lanes as they are, 32 bits each
    store_bits,    // write bit = x > 0
    store_planes,  // write `count` bit-planes of the code x, `plane_bytes` apart
    store_bytes,   // write x + shift, a byte each
};

constexpr std::int64_t kMostEntries = std::int64_t{1} << 23;

struct TileOp {
    TileOpKind kind = TileOpKind::store_lanes;
    bool fused = false;
    const std::int32_t* integers = nullptr;
    std::int64_t integers_stride = 0;           // from one class or threshold to the next
    const std::uint16_t* row_class = nullptr;   // [all rows of the step]
    const float* reals = nullptr;
    const float* more_reals = nullptr;
    const std::int32_t* flips = nullptr;        // 0 or -1
    const std::uint64_t* flip_bits = nullptr;   // the same as bits
    std::int32_t low = 0, high = 0, shift = 0;
    float real_low = 0.0F, real_high = 0.0F;
    std::int64_t count = 0, width = 0, across = 0;
    std::int64_t plane_bytes = 0;
    std::int64_t pixel_bytes = 0;               // store_bytes: of a row, its padding included
    int memory = 0;                             // which of Tile::memory is read or written
    const std::int64_t* rows = nullptr;         // [all rows of the step, after max_rows]: bytes from that memory
};

enum class PoolKind { max_integer, max_real, sum };

// Windows over a stored image: the largest value of each column, or the sum of value - zero_point. Place k of window i lies
// windows[i * places + k] bytes from `image`, or is left out where that is negative. Of no place the sum is 0; for a largest
// value each window has at least one.
struct Windows {
    const char* image = nullptr;
    const std::int64_t* windows = nullptr;  // [m][places]
    std::int64_t m = 0, places = 0;
    bool bytes = false;  // one byte a value; else 32-bit lanes
    PoolKind kind = PoolKind::sum;
    std::int32_t zero_point = 0;
};

// What tile ops work on: rows first .. first + m of a step's rows, columns `column` .. `column` + n of its columns.
struct Tile {
    Block block;
    std::int64_t first = 0, m = 0;
    std::int64_t column = 0, n = 0;  // column is a multiple of 64
    bool last_column = true;         // column + n is the end of a row
    char* const* memory = nullptr;
};

struct KernelTable {
    const char* name;
    bool (*supported)();  // whether this processor and system can run the table
    bool wide_is_free;    // whether conv_u8s8 and conv_u8s4 are as fast with `wide` as without

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

    // block[i][column] = base[column] + coefficient * popcount(row i OP weights of the column), for `groups` groups; a null
    // base adds to what is there. Modulo 2^32: planes of opposite sign may pass 2^31 before they cancel.
    void (*conv_u1)(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, BitOp op,
                    std::int32_t coefficient, const std::int32_t* base, const Block& block);

    // block[i][column] = base[column] + sum over the row's bytes of byte * weight (int8). `wide`: two products may pass
    // 2^15 - 1, that is 2 * largest byte * largest |weight| > 32767. |base| + 255 * 128 * 4 * quads < 2^31 by the caller.
    void (*conv_u8s8)(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, bool wide,
                      const std::int32_t* base, const Block& block);

    // The same with int4 weights. `wide` counts a weight as 128: that is 2 * largest byte * 128 > 32767. 16 times each sum fits
    // int32 by the caller.
    void (*conv_u8s4)(const Gather& gather, const std::uint32_t* panel, std::int64_t groups, bool wide,
                      const std::int32_t* base, const Block& block);

    // block[i][column] = base[column] + sum over runs of byte[column] * weights[run][column]: each column by itself.
    // weights: int32 [run_count][16 * groups]; a run is `n` bytes, the last group reads `n % 16` of them.
    void (*depthwise_u8)(const Gather& gather, const std::int32_t* weights, std::int64_t n, const std::int32_t* base,
                         const Block& block);

    // block[i][column] = the pooled value of window i, for `n` columns.
    void (*pool)(const Windows& windows, std::int64_t n, const Block& block);

    // Apply tile ops in order.
    void (*tile)(const TileOp* ops, std::int64_t count, const Tile& tile);
};

extern const KernelTable kScalarTable;
extern const KernelTable kAvx2Table;
extern const KernelTable kAvx512Table;
extern const KernelTable kAvx512VpopcntTable;
extern const KernelTable kNeonTable;

}  // namespace featherbit
