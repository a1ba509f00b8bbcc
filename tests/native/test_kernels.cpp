// Every kernel of every table that this build holds and this processor runs, against the oracles of check.h.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "check.h"

namespace featherbit::test {
namespace {

constexpr std::int64_t kSizes[] = {0, 1, 2, 3, 15, 16, 17, 63, 64, 65, 130, 511, 512, 513};
constexpr std::int64_t kMostProducts = 40'000;  // of the shapes that are all tried
constexpr std::int32_t kCanary = 0x5EED5EED;
constexpr std::uint64_t kWordCanary = 0x5EED5EED5EED5EEDu;

struct Shape {
    std::int64_t m, n, k;
};

std::vector<Shape> shapes() {
    std::vector<Shape> all = {{65, 130, 513}, {513, 17, 511}, {1, 513, 513},   {3, 512, 65},
                              {130, 3, 512},  {17, 65, 2049}, {37, 17, 70'001}, {1, 33, 70'001}};
    for (const std::int64_t m : kSizes)
        for (const std::int64_t n : kSizes)
            for (const std::int64_t k : kSizes)
                if (m * n * k <= kMostProducts && (m * n * k > 0 || m + n + k < 70)) all.push_back({m, n, k});
    return all;
}

std::string named(const KernelTable& table, const char* kernel, const Shape& s) {
    return std::string(table.name) + " " + kernel + " m=" + std::to_string(s.m) + " n=" + std::to_string(s.n) +
           " k=" + std::to_string(s.k);
}

template <class T>
Buffer<T> exact(const T* from, std::int64_t count) {
    Buffer<T> to(count);
    if (count > 0) std::memcpy(to.data(), from, static_cast<std::size_t>(count) * sizeof(T));
    return to;
}

template <class T>
Buffer<T> padded_to_groups(const std::vector<T>& values) {
    Buffer<T> out(groups_of(static_cast<std::int64_t>(values.size())) * kGroup);
    for (std::size_t i = 0; i < values.size(); ++i) out[static_cast<std::int64_t>(i)] = values[i];
    return out;
}

// Rows wider than they need be, so that a write between two rows is seen.
bool rows_are(const Buffer<std::int32_t>& got, std::int64_t stride, const std::vector<std::int64_t>& expected,
              const Shape& s) {
    for (std::int64_t row = 0; row < s.m; ++row)
        for (std::int64_t i = 0; i < stride && row * stride + i < got.size; ++i) {
            const std::int64_t want = i < s.n ? expected[static_cast<std::size_t>(row * s.n + i)] : kCanary;
            if (got[row * stride + i] != want) return false;
        }
    return true;
}

bool words_are(const Buffer<std::uint64_t>& got, std::int64_t stride, const Buffer<std::uint64_t>& expected,
               const Shape& s) {
    const std::int64_t words = words_per_row(s.n);
    for (std::int64_t row = 0; row < s.m; ++row)
        for (std::int64_t i = 0; i < stride && row * stride + i < got.size; ++i) {
            const std::uint64_t want = i < words ? expected[row * words + i] : kWordCanary;
            if (got[row * stride + i] != want) return false;
        }
    return true;
}

// The last row ends where the memory ends, whatever the stride.
std::int64_t strided(std::int64_t rows, std::int64_t stride, std::int64_t width) {
    return rows == 0 ? 0 : (rows - 1) * stride + width;
}

// Call a product once for each kind of sink, and compare.
template <class Call>
void check_sinks(Tally& tally, const std::string& what, const Shape& s, const std::vector<std::int64_t>& sums,
                 const std::vector<std::int32_t>& at, const Signs& flips, Call call) {
    Sink ints;
    ints.acc_stride = s.n + 3;
    Buffer<std::int32_t> acc(strided(s.m, ints.acc_stride, s.n), kCanary);
    ints.acc = acc.data();
    call(ints);
    tally.check(rows_are(acc, ints.acc_stride, sums, s), what + " int32");

    Sink streamed;  // whole cache lines, as it demands
    streamed.stream = true;
    streamed.acc_stride = (groups_of(s.n) + 1) * kGroup;
    const std::int64_t count = s.m * streamed.acc_stride;
    const AlignedArray<std::int32_t> lines = make_aligned<std::int32_t>(static_cast<std::size_t>(count));
    std::fill_n(lines.get(), count, kCanary);
    streamed.acc = lines.get();
    call(streamed);
    tally.check(rows_are(exact(lines.get(), count), streamed.acc_stride, sums, s), what + " streamed int32");

    const std::int64_t words = words_per_row(s.n);
    const Buffer<std::int32_t> thresholds = padded_to_groups(at);
    const Buffer<std::uint64_t> flip_words = packed(flips);
    Sink bits;
    bits.thresholds = thresholds.data();
    bits.flips = flip_words.data();
    bits.bits_stride = words + 1;
    Buffer<std::uint64_t> out(strided(s.m, bits.bits_stride, words), kWordCanary);
    bits.bits = out.data();
    call(bits);
    tally.check(words_are(out, bits.bits_stride, packed(thresholded(sums, s.m, at, flips)), s), what + " bits");
}

void check_u1u1(Tally& tally, const Shape& s, const Signs& a, const Signs& w, Random& random) {
    const std::int64_t words = words_per_row(s.k);
    const Buffer<std::uint64_t> rows = packed(a), weights = packed(w);
    const auto made = make_panel_u1(weights.data(), s.n, s.k);
    const Buffer<std::uint32_t> panel = exact(made.get(), groups_of(s.n) * words * 2 * kGroup);
    const std::vector<std::int64_t> sums = products(a.values.data(), s.m, w);
    const std::vector<std::int32_t> at = random_thresholds(s.n, 9, random);
    const Signs flips = random_signs(1, s.n, random);
    for (const KernelTable* table : supported_tables())
        check_sinks(tally, named(*table, "gemm_u1u1", s), s, sums, at, flips, [&](const Sink& sink) {
            table->gemm_u1u1(rows.data(), words, s.m, panel.data(), s.n, s.k, sink);
        });
}

void check_u8u1(Tally& tally, const Shape& s, const Buffer<std::uint8_t>& a, const Signs& w, Random& random) {
    const Buffer<std::uint64_t> weights = packed(w);
    const auto made = make_panel_u8(weights.data(), s.n, s.k);
    const Buffer<std::uint64_t> panel = exact(made.get(), groups_of(s.n) * quads_of(s.k));
    const std::vector<std::int64_t> sums = products(a.data(), s.m, w);
    const std::vector<std::int32_t> at = random_thresholds(s.n, 900, random);
    const Signs flips = random_signs(1, s.n, random);
    for (const KernelTable* table : supported_tables())
        check_sinks(tally, named(*table, "gemm_u8u1", s), s, sums, at, flips, [&](const Sink& sink) {
            table->gemm_u8u1(a.data(), s.k, s.m, panel.data(), s.n, s.k, sink);
        });
}

void check_products(Tally& tally) {
    Random random(1);
    for (const Shape& s : shapes()) {
        check_u1u1(tally, s, random_signs(s.m, s.k, random), random_signs(s.n, s.k, random), random);
        Buffer<std::uint8_t> bytes(s.m * s.k);
        for (std::int64_t i = 0; i < bytes.size; ++i) bytes[i] = static_cast<std::uint8_t>(random() >> 40);
        check_u8u1(tally, s, bytes, random_signs(s.n, s.k, random), random);
    }
}

// Counters and pairs of products at their largest: every bit differs, or none; every byte is 255.
void check_extreme_products(Tally& tally) {
    Random random(2);
    for (const std::int64_t k : {959, 960, 961, 1024, 4097, 70'001})
        for (const int sign : {-1, 1}) {
            const Shape s{5, 17, k};
            check_u1u1(tally, s, same_signs(s.m, k, 1), same_signs(s.n, k, sign), random);
            check_u8u1(tally, s, Buffer<std::uint8_t>(s.m * k, 255), same_signs(s.n, k, sign), random);
        }
}

void check_pack(Tally& tally) {
    Random random(3);
    constexpr float kInf = std::numeric_limits<float>::infinity(), kNan = std::numeric_limits<float>::quiet_NaN();
    const float special[] = {0.0F, -0.0F, kInf, -kInf, kNan, -kNan, 1e-45F, -1e-45F, 1.5F, -1.5F};
    for (const std::int64_t m : {0, 1, 3, 17})
        for (const std::int64_t k : kSizes) {
            Buffer<float> x(m * k);
            Signs expected(m, k);
            for (std::int64_t i = 0; i < m * k; ++i) {
                x[i] = special[random() % 10];
                expected.at(0, i) = x[i] > 0.0F || x[i] == 0.0F ? 1 : -1;
            }
            const Buffer<std::uint64_t> words = packed(expected);
            for (const KernelTable* table : supported_tables()) {
                Buffer<std::uint64_t> out(words.size, kWordCanary);
                table->pack_f32u1(x.data(), m, k, out.data());
                tally.check(equal(out, words, words.size), named(*table, "pack_f32u1", {m, 0, k}));
            }
        }
}

void check_threshold(Tally& tally) {
    Random random(4);
    for (const std::int64_t m : {0, 1, 3, 17})
        for (const std::int64_t n : kSizes) {
            const Shape s{m, n, 0};
            const std::vector<std::int32_t> at = random_thresholds(n, 9, random);
            const std::vector<std::int32_t> numbers = random_thresholds(m * n, 9, random);
            const Buffer<std::int32_t> acc = exact(numbers.data(), m * n);
            const std::vector<std::int64_t> sums(numbers.begin(), numbers.end());
            const Signs flips = random_signs(1, n, random);
            const Buffer<std::uint64_t> flip_words = packed(flips), expected = packed(thresholded(sums, m, at, flips));
            const Buffer<std::int32_t> thresholds = padded_to_groups(at);
            for (const KernelTable* table : supported_tables()) {
                Sink sink;
                sink.thresholds = thresholds.data();
                sink.flips = flip_words.data();
                sink.bits_stride = words_per_row(n) + 1;
                Buffer<std::uint64_t> out(strided(m, sink.bits_stride, words_per_row(n)), kWordCanary);
                sink.bits = out.data();
                table->threshold_i32u1(acc.data(), m, n, sink);
                tally.check(words_are(out, sink.bits_stride, expected, s), named(*table, "threshold_i32u1", s));
            }
        }
}

void check_dispatch(Tally& tally) {
    const auto tables = compiled_tables();
    tally.check(!tables.empty() && std::string(tables.back()->name) == "scalar", "scalar is the last table");
    tally.check(tables.back()->supported(), "scalar is supported");
    for (const KernelTable* table : tables) tally.check(find_table(table->name) == table, "a table is found by name");
    for (const char* name : {"", "AVX2", "avx", "scalar "}) tally.check(find_table(name) == nullptr, "unknown name");
}

}  // namespace

void test_kernels(Tally& tally) {
    for (const KernelTable* table : supported_tables()) std::printf("%s ", table->name);
    std::printf("\n");
    check_dispatch(tally);
    check_products(tally);
    check_extreme_products(tally);
    check_pack(tally);
    check_threshold(tally);
}

}  // namespace featherbit::test
