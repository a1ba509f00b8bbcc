// Sixteen 32-bit lanes in plain C++: vectors of the compiler, which every instruction set has, be it in several registers.
#pragma once

#include "../kernels.h"

namespace featherbit {
namespace {

using Ints = std::int32_t __attribute__((vector_size(64)));
using Reals = float __attribute__((vector_size(64)));
using Bytes = std::uint8_t __attribute__((vector_size(16)));

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

// Round to an integer, ties to even; |x| <= 2^22. Adding 1.5 * 2^23 leaves no bits for a fraction.
inline Reals round_even(Reals x) {
    const float magic = 12582912.0F;
    return (x + magic) - magic;
}

}  // namespace
}  // namespace featherbit
