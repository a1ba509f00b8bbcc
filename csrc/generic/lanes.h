// 32-bit lanes in plain C++: vectors of the compiler, as wide as a register of the instruction set that a file is compiled
// for. Of wider ones GCC takes comparisons and choices apart, lane by lane.
#pragma once

#include "../kernels.h"

namespace featherbit {
namespace {

#if defined(__AVX512F__)
constexpr int kVector = 16;  // lanes
#elif defined(__AVX2__)
constexpr int kVector = 8;
#else
constexpr int kVector = 4;
#endif

using Ints = std::int32_t __attribute__((vector_size(4 * kVector)));
using Reals = float __attribute__((vector_size(4 * kVector)));
using Bytes = std::uint8_t __attribute__((vector_size(kVector)));

template <class Vector, class T>
inline Vector load_lanes(const T* at) {
    Vector x;
    __builtin_memcpy(&x, at, sizeof(x));
    return x;
}

template <class Vector, class T>
inline void store_lanes(T* at, Vector x) {
    __builtin_memcpy(at, &x, sizeof(x));
}

inline Reals to_reals(Ints x) { return __builtin_convertvector(x, Reals); }
inline Ints larger(Ints a, Ints b) { return a > b ? a : b; }

// An integer, ties to even, of a real x with |x| <= 2^22: adding 1.5 * 2^23 leaves no bits for a fraction, and the lowest
// bits of the sum are the integer's.
struct Rounded {
    static constexpr float kMagic = 12582912.0F;
    Reals sum;
    explicit Rounded(Reals x) : sum(x + kMagic) {}
    Reals real() const { return sum - kMagic; }
    Ints integer() const { return reinterpret_cast<Ints>(sum) - __builtin_bit_cast(std::int32_t, kMagic); }
};

}  // namespace
}  // namespace featherbit
