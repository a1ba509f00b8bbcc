// What the native tests share: a counter of checks, exact heap buffers, and the obvious oracles.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "dispatch.h"
#include "kernels.h"
#include "panel.h"
#include "plan/plan.h"

namespace featherbit::test {

// Counts checks; the first few failures are printed.
class Tally {
   public:
    void check(bool holds, const std::string& what) {
        ++(holds ? passed_ : failed_);
        if (!holds && failed_ <= 20) std::printf("FAILED: %s\n", what.c_str());
    }
    long passed() const { return passed_; }
    long failed() const { return failed_; }

   private:
    long passed_ = 0, failed_ = 0;
};

// Heap memory of exactly the size asked for, so that the address sanitizer sees a read or a write one byte past it.
template <class T>
struct Buffer {
    std::int64_t size;
    std::unique_ptr<T[]> memory;

    explicit Buffer(std::int64_t count, T value = T{}) : size(count), memory(new T[static_cast<std::size_t>(count)]) {
        for (std::int64_t i = 0; i < count; ++i) memory[static_cast<std::size_t>(i)] = value;
    }
    Buffer(const Buffer& other) : Buffer(other.size) { std::copy_n(other.data(), size, data()); }
    Buffer(Buffer&&) = default;
    Buffer& operator=(Buffer&&) = default;
    T* data() { return memory.get(); }
    const T* data() const { return memory.get(); }
    T& operator[](std::int64_t i) { return memory[static_cast<std::size_t>(i)]; }
    const T& operator[](std::int64_t i) const { return memory[static_cast<std::size_t>(i)]; }
};

// A block of lanes as the kernels demand it: whole groups, rows on 64-byte lines; it ends where the memory ends.
struct Lanes {
    std::int64_t rows, stride;
    AlignedArray<std::int32_t> memory;

    Lanes(std::int64_t rows_, std::int64_t stride_, std::int32_t value)
        : rows(rows_), stride(stride_), memory(make_aligned<std::int32_t>(static_cast<std::size_t>(rows_ * stride_))) {
        for (std::int64_t i = 0; i < rows * stride; ++i) memory[static_cast<std::size_t>(i)] = value;
    }
    Block block() { return Block{memory.get(), stride}; }
    std::int32_t& at(std::int64_t row, std::int64_t lane) { return memory[static_cast<std::size_t>(row * stride + lane)]; }
};

// Best first: what this build holds and this processor runs.
inline std::vector<const KernelTable*> supported_tables() {
    std::vector<const KernelTable*> tables;
    for (const KernelTable* table : compiled_tables())
        if (table->supported()) tables.push_back(table);
    return tables;
}

using Random = std::mt19937_64;

// A number from low to high.
inline std::int64_t pick(Random& random, std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(random() % static_cast<std::uint64_t>(high - low + 1));
}

// Unpacked +-1 rows.
struct Signs {
    std::int64_t rows, k;
    std::vector<std::int8_t> values;

    Signs(std::int64_t rows_, std::int64_t k_) : rows(rows_), k(k_), values(static_cast<std::size_t>(rows_ * k_)) {}
    std::int8_t& at(std::int64_t row, std::int64_t i) { return values[static_cast<std::size_t>(row * k + i)]; }
    std::int8_t at(std::int64_t row, std::int64_t i) const { return values[static_cast<std::size_t>(row * k + i)]; }
};

inline Signs random_signs(std::int64_t rows, std::int64_t k, Random& random) {
    Signs signs(rows, k);
    for (std::int8_t& value : signs.values) value = (random() >> 32 & 1) != 0 ? 1 : -1;
    return signs;
}

inline Signs same_signs(std::int64_t rows, std::int64_t k, int value) {
    Signs signs(rows, k);
    for (std::int8_t& each : signs.values) each = static_cast<std::int8_t>(value);
    return signs;
}

// Bit i % 64 of word i / 64 is set where the sign is +1.
inline Buffer<std::uint64_t> packed(const Signs& signs) {
    const std::int64_t words = (signs.k + 63) / 64;
    Buffer<std::uint64_t> out(signs.rows * words);
    for (std::int64_t row = 0; row < signs.rows; ++row)
        for (std::int64_t i = 0; i < signs.k; ++i)
            if (signs.at(row, i) > 0) out[row * words + i / 64] |= std::uint64_t{1} << (i % 64);
    return out;
}

// sum_k (a[m][k] - zero_point) * w[n][k], one product after the other.
template <class T>
std::vector<std::int64_t> products(const T* a, std::int64_t m, const Signs& w, std::int64_t zero_point = 0) {
    std::vector<std::int64_t> sums(static_cast<std::size_t>(m * w.rows));
    for (std::int64_t row = 0; row < m; ++row)
        for (std::int64_t n = 0; n < w.rows; ++n) {
            std::int64_t sum = 0;
            for (std::int64_t i = 0; i < w.k; ++i) sum += (a[row * w.k + i] - zero_point) * w.at(n, i);
            sums[static_cast<std::size_t>(row * w.rows + n)] = sum;
        }
    return sums;
}

// bit = (sum >= threshold) XOR flip, as +-1 rows.
inline Signs thresholded(const std::vector<std::int64_t>& sums, std::int64_t m, const std::vector<std::int32_t>& at,
                         const Signs& flips) {
    const std::int64_t n = static_cast<std::int64_t>(at.size());
    Signs signs(m, n);
    for (std::int64_t row = 0; row < m; ++row)
        for (std::int64_t i = 0; i < n; ++i) {
            const bool reached = sums[static_cast<std::size_t>(row * n + i)] >= at[static_cast<std::size_t>(i)];
            signs.at(row, i) = reached != (flips.at(0, i) > 0) ? 1 : -1;
        }
    return signs;
}

// Thresholds around the sums that occur, a few of them at the ends of int32.
inline std::vector<std::int32_t> random_thresholds(std::int64_t n, std::int64_t spread, Random& random) {
    static constexpr std::int32_t kExtremes[] = {INT32_MIN, INT32_MIN + 1, INT32_MAX - 1, INT32_MAX, 0};
    std::vector<std::int32_t> thresholds;
    for (std::int64_t i = 0; i < n; ++i) {
        const std::int64_t number = static_cast<std::int64_t>(random() >> 1) % (2 * spread + 1) - spread;
        thresholds.push_back(random() % 4 == 0 ? kExtremes[random() % 5] : static_cast<std::int32_t>(number));
    }
    return thresholds;
}

// Run a plan of an input and an output.
inline void run(const Plan& plan, const void* input, std::int64_t m, void* output, int threads,
                const std::vector<Plan::Tap>& taps = {}) {
    plan.run({static_cast<char*>(const_cast<void*>(input)), static_cast<char*>(output)}, m, threads, taps);
}

template <class A, class B>
bool equal(const A& a, const B& b, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i)
        if (a[static_cast<std::size_t>(i)] != b[static_cast<std::size_t>(i)]) return false;
    return true;
}

void test_kernels(Tally& tally);
void test_conv(Tally& tally);
void test_tile(Tally& tally);
void test_producers(Tally& tally);
void test_plan(Tally& tally);
void test_sequences(Tally& tally);

}  // namespace featherbit::test
