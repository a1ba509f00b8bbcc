// Plans end to end, and products split over threads, against the oracles of check.h.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <thread>

#include "check.h"
#include "dispatch.h"
#include "plan/plan.h"

namespace featherbit::test {
namespace {

constexpr std::int64_t kBatches[] = {0, 1, 7, 100, 500};
constexpr int kMostThreads = 3;

// A layer with random numbers, in the form of the oracle and in that of a StepSpec.
struct Layer {
    std::int64_t n, k, zero_point;
    bool bytes_in;
    After after;
    Signs weights, flips;
    std::vector<std::int32_t> thresholds;
    std::vector<float> multiplier, addend;
    bool fused;
    Buffer<std::uint64_t> weight_words, flip_words;

    Layer(std::int64_t n_, std::int64_t k_, std::int64_t zero_point_, bool bytes, After after_, Random& random)
        : n(n_),
          k(k_),
          zero_point(zero_point_),
          bytes_in(bytes),
          after(after_),
          weights(random_signs(n_, k_, random)),
          flips(random_signs(1, n_, random)),
          thresholds(random_thresholds(n_, bytes ? 2000 : 9, random)),
          fused(n_ % 2 == 0),
          weight_words(packed(weights)),
          flip_words(packed(flips)) {
        std::uniform_real_distribution<float> real(-3.0F, 3.0F);
        for (std::int64_t i = 0; i < n; ++i) {
            multiplier.push_back(real(random));
            addend.push_back(real(random));
        }
    }

    StepSpec spec(int from, int to) const {
        StepSpec spec;
        spec.from = from;
        spec.to = to;
        spec.n = n;
        spec.k = k;
        spec.bytes_in = bytes_in;
        spec.after = after;
        spec.zero_point = zero_point;
        spec.weights = weight_words.data();
        spec.thresholds = thresholds.data();
        spec.flips = flip_words.data();
        spec.multiplier = multiplier.data();
        spec.addend = addend.data();
        spec.fused = fused;
        return spec;
    }

    std::vector<float> scaled(const std::vector<std::int64_t>& sums) const {
        std::vector<float> out;
        for (std::size_t i = 0; i < sums.size(); ++i) {
            const float x = static_cast<float>(sums[i]), m = multiplier[i % multiplier.size()];
            const float c = addend[i % addend.size()];
            const volatile float product = x * m;
            out.push_back(fused ? std::fma(x, m, c) : product + c);
        }
        return out;
    }
};

StepSpec rows_step(StepKind kind, int to, std::int64_t k) {
    StepSpec spec;
    spec.kind = kind;
    spec.to = to;
    spec.n = spec.k = k;
    return spec;
}

std::vector<float> random_reals(std::int64_t count, Random& random) {
    constexpr float kInf = std::numeric_limits<float>::infinity();
    std::vector<float> x;
    for (std::int64_t i = 0; i < count; ++i) {
        const float quarter = static_cast<float>(static_cast<std::int64_t>(random() % 1200) - 600) / 512.0F;
        x.push_back(random() % 20 == 0 ? (random() % 2 == 0 ? kInf : -kInf) : quarter);
    }
    return x;
}

std::uint8_t quantized(float x) {
    if (x >= 1.0F) return 255;
    if (x <= -1.0F) return 0;
    const double scaled = static_cast<double>(x) * 128.0, below = std::floor(scaled), rest = scaled - below;
    const bool up = rest > 0.5 || (rest == 0.5 && std::fmod(below, 2.0) != 0.0);
    return static_cast<std::uint8_t>(std::min(127.0, below + (up ? 1.0 : 0.0)) + 128.0);
}

template <class T>
Buffer<T> heap(const std::vector<T>& values) {
    Buffer<T> out(static_cast<std::int64_t>(values.size()));
    std::copy(values.begin(), values.end(), out.data());
    return out;
}

std::vector<const KernelTable*> tables() {
    std::vector<const KernelTable*> all;
    for (const KernelTable* table : compiled_tables())
        if (table->supported()) all.push_back(table);
    return all;
}

// quantize -> bytes product, threshold -> sign product, threshold -> sign product, affine; each value is tapped too.
struct Network {
    static constexpr std::int64_t kIn = 37, kHidden = 130, kWide = 65, kOut = 10;
    Layer first, second, third;
    std::vector<float> x;
    std::vector<std::uint8_t> codes;
    std::vector<std::int64_t> sums1, sums2, sums3;
    Signs bits1, bits2;
    std::vector<float> y;

    Network(std::int64_t m, std::int64_t zero_point, Random& random)
        : first(kHidden, kIn, zero_point, true, After::threshold, random),
          second(kWide, kHidden, 0, false, After::threshold, random),
          third(kOut, kWide, 0, false, After::affine, random),
          x(random_reals(m * kIn, random)),
          bits1(0, 0),
          bits2(0, 0) {
        for (const float value : x) codes.push_back(quantized(value));
        sums1 = products(codes.data(), m, first.weights, zero_point);
        bits1 = thresholded(sums1, m, first.thresholds, first.flips);
        sums2 = products(bits1.values.data(), m, second.weights);
        bits2 = thresholded(sums2, m, second.thresholds, second.flips);
        sums3 = products(bits2.values.data(), m, third.weights);
        y = third.scaled(sums3);
    }
    Plan plan(const KernelTable* table) const {
        const std::int64_t wide = std::max(words_per_row(kHidden) * 8, kIn), narrow = words_per_row(kHidden) * 8;
        return Plan(table,
                    {rows_step(StepKind::quantize, 0, kIn), first.spec(0, 1), second.spec(1, 0), third.spec(0, kToOutput)},
                    {wide, narrow}, kIn * 4, kOut * 4);
    }
};

void check_network(Tally& tally, const KernelTable* table, std::int64_t m, std::int64_t zero_point, int threads) {
    Random random(static_cast<std::uint64_t>(m * 1000 + zero_point));
    const Network net(m, zero_point, random);
    const Plan plan = net.plan(table);
    const std::string what = std::string(table->name) + " plan m=" + std::to_string(m) +
                             " zero_point=" + std::to_string(zero_point) + " threads=" + std::to_string(threads);
    const Buffer<float> x = heap(net.x);
    Buffer<float> y(m * Network::kOut, -77.0F);
    for (int again = 0; again < 2; ++again) {
        std::fill(y.data(), y.data() + y.size, -77.0F);
        plan.run(x.data(), m, y.data(), threads, nullptr, nullptr);
        tally.check(equal(y, net.y, y.size), what);
    }
    const Buffer<std::uint64_t> bits1 = packed(net.bits1), bits2 = packed(net.bits2);
    Buffer<std::uint8_t> tap0(m * Network::kIn);
    Buffer<std::uint64_t> tap1(bits1.size), tap2(bits2.size);
    Buffer<float> tap3(y.size), traced(y.size);
    Buffer<std::int32_t> acc1(m * Network::kHidden), acc2(m * Network::kWide), acc3(m * Network::kOut);
    void* taps[] = {tap0.data(), tap1.data(), tap2.data(), tap3.data()};
    std::int32_t* acc_taps[] = {nullptr, acc1.data(), acc2.data(), acc3.data()};
    plan.run(x.data(), m, traced.data(), threads, taps, acc_taps);
    tally.check(equal(tap0, net.codes, tap0.size), what + " codes");
    tally.check(equal(tap1, bits1, bits1.size) && equal(tap2, bits2, bits2.size), what + " bits");
    tally.check(equal(tap3, net.y, y.size) && equal(traced, net.y, y.size), what + " traced");
    tally.check(equal(acc1, net.sums1, acc1.size) && equal(acc2, net.sums2, acc2.size), what + " sums");
    tally.check(equal(acc3, net.sums3, acc3.size), what + " output sums");
}

// One step that reads the input and writes the output.
void check_single_steps(Tally& tally, const KernelTable* table, std::int64_t m, int threads) {
    Random random(static_cast<std::uint64_t>(m) + 5);
    const std::string what = std::string(table->name) + " single step m=" + std::to_string(m);
    for (const std::int64_t k : {1, 63, 64, 65}) {
        const std::vector<float> reals = random_reals(m * k, random);
        Signs signs(m, k);
        for (std::size_t i = 0; i < reals.size(); ++i) signs.values[i] = reals[i] < 0.0F ? -1 : 1;
        const Buffer<std::uint64_t> words = packed(signs);
        const Buffer<float> x = heap(reals);
        Buffer<std::uint64_t> got(words.size);
        Plan(table, {rows_step(StepKind::pack_sign, kToOutput, k)}, {}, k * 4, words_per_row(k) * 8)
            .run(x.data(), m, got.data(), threads, nullptr, nullptr);
        tally.check(equal(got, words, words.size), what + " pack_sign");

        const Layer layer(17, k, 0, false, After::keep, random);
        const std::vector<std::int64_t> sums = products(signs.values.data(), m, layer.weights);
        Buffer<std::int32_t> acc(m * 17);
        Plan(table, {layer.spec(kFromInput, kToOutput)}, {}, words_per_row(k) * 8, 17 * 4)
            .run(words.data(), m, acc.data(), threads, nullptr, nullptr);
        tally.check(equal(acc, sums, acc.size), what + " keep");
    }
}

// Zero points move every threshold; those at the ends of int32 still mean always and never.
void check_extreme_thresholds(Tally& tally, const KernelTable* table) {
    Random random(9);
    for (const std::int64_t zero_point : {0, 1, 128, 255})
        for (const int sign : {-1, 0, 1}) {
            const std::int64_t m = 3, n = 65, k = 4097;
            Layer layer(n, k, zero_point, true, After::threshold, random);
            if (sign != 0) layer.weights = same_signs(n, k, sign);
            layer.weight_words = packed(layer.weights);
            for (std::size_t i = 0; i < layer.thresholds.size(); ++i)
                if (i % 2 == 0) layer.thresholds[i] = i % 4 == 0 ? INT32_MIN : INT32_MAX;
            Buffer<std::uint8_t> x(m * k);
            for (std::int64_t i = 0; i < x.size; ++i) x[i] = i < k ? 0 : i < 2 * k ? 255 : static_cast<std::uint8_t>(i);
            const std::vector<std::int64_t> sums = products(x.data(), m, layer.weights, zero_point);
            const Buffer<std::uint64_t> bits = packed(thresholded(sums, m, layer.thresholds, layer.flips));
            Buffer<std::uint64_t> got(bits.size);
            Plan(table, {layer.spec(kFromInput, kToOutput)}, {}, k, words_per_row(n) * 8)
                .run(x.data(), m, got.data(), 1, nullptr, nullptr);
            tally.check(equal(got, bits, bits.size), std::string(table->name) + " extreme thresholds");
        }
}

// Many callers on one plan: each gets the result that a single caller gets.
void check_concurrent_runs(Tally& tally, const KernelTable* table) {
    Random random(11);
    const std::int64_t m = 100;
    const Network net(m, 128, random);
    const Plan plan = net.plan(table);
    const Buffer<float> x = heap(net.x);
    std::atomic<int> wrong{0};
    std::vector<std::thread> callers;
    for (int caller = 0; caller < 4; ++caller)
        callers.emplace_back([&, caller] {
            for (int turn = 0; turn < 5; ++turn) {
                const std::int64_t rows = turn % 2 == 0 ? m : 1 + caller;
                Buffer<float> y(rows * Network::kOut);
                plan.run(x.data(), rows, y.data(), 1 + caller % 3, nullptr, nullptr);
                if (!equal(y, net.y, y.size)) ++wrong;
            }
        });
    for (std::thread& caller : callers) caller.join();
    tally.check(wrong == 0, std::string(table->name) + " concurrent runs");
}

// Rows are split where there are many, columns where there are few; either way both sinks are filled whole.
void check_parallel(Tally& tally, const KernelTable* table, std::int64_t m, std::int64_t n, int threads) {
    Random random(static_cast<std::uint64_t>(m * n));
    const std::int64_t k = 130;
    const Layer layer(n, k, 0, false, After::keep, random);
    const Signs a = random_signs(m, k, random);
    const Buffer<std::uint64_t> rows = packed(a);
    const std::vector<std::int64_t> sums = products(a.values.data(), m, layer.weights);
    const auto panel = make_panel_u1(layer.weight_words.data(), n, k);
    const Product product{table, n, k, panel.get(), nullptr};
    const std::string what = std::string(table->name) + " parallel m=" + std::to_string(m) + " n=" + std::to_string(n);
    Buffer<std::int32_t> acc(m * n);
    Sink ints;
    ints.acc = acc.data();
    ints.acc_stride = n;
    product.parallel(rows.data(), m, ints, threads);
    tally.check(equal(acc, sums, acc.size), what + " int32");
    Buffer<std::int32_t> thresholds(groups_of(n) * kGroup);
    std::copy(layer.thresholds.begin(), layer.thresholds.end(), thresholds.data());
    Sink bits;
    Buffer<std::uint64_t> out(m * words_per_row(n), ~std::uint64_t{0});
    bits.thresholds = thresholds.data();
    bits.flips = layer.flip_words.data();
    bits.bits = out.data();
    bits.bits_stride = words_per_row(n);
    product.parallel(rows.data(), m, bits, threads);
    const Buffer<std::uint64_t> expected = packed(thresholded(sums, m, layer.thresholds, layer.flips));
    tally.check(equal(out, expected, out.size), what + " bits");
}

}  // namespace

void test_plan(Tally& tally) {
    for (const KernelTable* table : tables()) {
        for (int threads = 1; threads <= kMostThreads; ++threads) {
            for (const std::int64_t m : kBatches) check_network(tally, table, m, 128, threads);
            for (const std::int64_t m : {0, 1, 7, 100}) check_single_steps(tally, table, m, threads);
            for (const std::int64_t m : {0, 1, 63, 97})
                for (const std::int64_t n : {0, 1, 17, 64, 65, 130}) check_parallel(tally, table, m, n, threads);
        }
        for (const std::int64_t zero_point : {0, 1, 255}) check_network(tally, table, 7, zero_point, 1);
        check_extreme_thresholds(tally, table);
        check_concurrent_runs(tally, table);
    }
}

}  // namespace featherbit::test
