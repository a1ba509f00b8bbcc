// Portable C++: any processor. The smallest `struct Simd`, and the one to copy for a new ISA (and tell lanes.h of it).
//
// One lane: a column at a time; two 32-bit words of it make one 64-bit popcount.
#include "../generic/table.h"

namespace featherbit {
namespace {

struct Scalar {
    using Bits = std::uint32_t;   // one 32-bit word per column; or four bytes of one column
    using I32 = std::int32_t;     // one result per column
    using Counter = std::int32_t;  // differing bits seen, per column
    static constexpr int kLanes = 1;
    static constexpr int kRows = 2, kGroups = 1, kSingleRowGroups = 1;  // the tile of gemm_u1u1
    static constexpr int kConvRows = 2, kConvGroups = 1;                 // the tile of conv_u1
    static constexpr int kByteRows = 2, kByteGroups = 1, kByteSingleRowGroups = 1;  // the tile of gemm_u8u1
    static constexpr std::int64_t kMaxWords = std::int64_t{1} << 40;     // 64-bit steps before a counter overflows

    static I32 zero() { return 0; }
    static Counter no_counts() { return 0; }
    static Bits load(const std::uint32_t* at) { return *at; }
    static Bits broadcast(std::uint32_t word) { return word; }

    static void count(Counter& counter, Bits a, Bits b) { counter += __builtin_popcount(a ^ b); }
    static void count_and(Counter& counter, Bits a, Bits b) { counter += __builtin_popcount(a & b); }
    static I32 add_counts(I32 sum, Counter counter) { return sum + counter; }
    static void store_dot(std::int32_t* to, std::int32_t k, I32 differing) { *to = k - 2 * differing; }
    static I32 load_i32(const std::int32_t* at) { return *at; }
    static I32 add(I32 a, I32 b) {  // modulo 2^32, as vectors add
        return static_cast<I32>(static_cast<std::uint32_t>(a) + static_cast<std::uint32_t>(b));
    }
    static I32 add_scaled(I32 sum, I32 count, std::int32_t coefficient) {
        return add(sum, static_cast<I32>(static_cast<std::uint32_t>(coefficient) * static_cast<std::uint32_t>(count)));
    }
    static I32 add_sixteenth(I32 sum, I32 times_16) { return add(sum, times_16 >> 4); }
    static void store(std::int32_t* to, I32 value) { *to = value; }

    // Bits 4 * part .. 4 * part + 3 of the word: four weights of one column.
    static Bits expand(std::uint64_t word, int part) { return static_cast<std::uint32_t>(word >> (4 * part)) & 15u; }
    static I32 dot_bytes(I32 sum, Bits bytes, Bits weights) {
        std::int32_t dot = 0;
        for (int i = 0; i < 4; ++i) {
            const std::int32_t byte = static_cast<std::int32_t>(bytes >> (8 * i) & 255u);
            dot += (weights >> i & 1u) != 0 ? byte : -byte;
        }
        return add(sum, dot);
    }
    // Four int8 weights of one column.
    template <bool Wide>
    using ByteWeights = Bits;
    template <bool Wide>
    static Bits byte_weights(Bits w) {
        return w;
    }
    template <bool Wide>
    static I32 dot_s8(I32 sum, Bits bytes, Bits weights) {
        std::int32_t dot = 0;
        for (int i = 0; i < 4; ++i)
            dot += static_cast<std::int32_t>(bytes >> (8 * i) & 255u) * static_cast<std::int8_t>(weights >> (8 * i) & 255u);
        return add(sum, dot);
    }
    static void stream_group(std::int32_t* to, const std::int32_t* from) { __builtin_memcpy(to, from, 64); }
    static Reals fused(Reals a, Reals b, Reals c) {
        Reals y;
        for (int i = 0; i < kVector; ++i) y[i] = __builtin_fmaf(a[i], b[i], c[i]);
        return y;
    }
    static Bytes low_bytes(Ints x) { return __builtin_convertvector(x, Bytes); }
    static bool any_at_least(Ints x, std::int32_t least) {
        bool any = false;
        for (int i = 0; i < kVector; ++i) any |= x[i] >= least;
        return any;
    }
    static void finish_stream() {}

    static unsigned at_least(const std::int32_t* acc, const std::int32_t* thresholds) {
        unsigned mask = 0;
        for (int i = 0; i < kGroup; ++i) mask |= static_cast<unsigned>(acc[i] >= thresholds[i]) << i;
        return mask;
    }
    static unsigned not_negative(const float* x) {
        unsigned bits = 0;
        for (int i = 0; i < kGroup; ++i) bits |= static_cast<unsigned>(x[i] >= 0.0F) << i;
        return bits;
    }
    static std::uint64_t signs(const float* x) {
        std::uint64_t word = 0;
        for (int i = 0; i < kWordBits; ++i) word |= static_cast<std::uint64_t>(x[i] >= 0.0F) << i;
        return word;
    }
};

bool supported() { return true; }

}  // namespace

extern const KernelTable kScalarTable = make_table<Scalar>("scalar", supported);

}  // namespace featherbit
