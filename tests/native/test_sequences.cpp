// Networks with a memory: plans of several external memories, run once and as sequences, against loops over time.
#include <algorithm>
#include <cmath>

#include "check.h"

namespace featherbit::test {
namespace {

constexpr float kCanary = -77.0F;
constexpr std::int64_t kEntries = 64;

// A recurrent network of `n` features that mixes its columns:
//   codes = embedding[token], total += codes, next = table[codes * scale + shift + reversed state], output = next * state
struct Memories {
    static constexpr int kOld = 2, kNew = 3, kTotal = 4, kReversed = 5, kCount = 5;
};

struct Recurrent : Memories {
    std::int64_t n, tokens = 11;
    Buffer<std::uint8_t> codes;
    Buffer<float> scale, shift, entries;
    float step = 0.125F;

    Recurrent(std::int64_t n_, Random& random) : n(n_), codes(11 * n_), scale(n_), shift(n_), entries(kEntries) {
        for (std::int64_t i = 0; i < codes.size; ++i) codes[i] = static_cast<std::uint8_t>(pick(random, 0, 15));
        for (std::int64_t i = 0; i < n; ++i) scale[i] = static_cast<float>(pick(random, -9, 9)) / 16.0F;
        for (std::int64_t i = 0; i < n; ++i) shift[i] = static_cast<float>(pick(random, -9, 9)) / 16.0F;
        for (std::int64_t i = 0; i < kEntries; ++i) entries[i] = static_cast<float>(pick(random, -999, 999)) / 300.0F;
    }

    Plan plan(const KernelTable* table) const {
        const std::int64_t bytes = n * 4;
        const std::vector<std::int64_t> first = {0};
        std::vector<std::int64_t> backwards;
        for (std::int64_t i = n - 1; i >= 0; --i) backwards.push_back(i * 4);
        std::vector<std::unique_ptr<Step>> steps;
        for (int i = 0; i < 3; ++i) steps.push_back(std::make_unique<Step>(table, 1, n));
        const auto embedding = [&] { return std::make_unique<Embedding>(kInput, 1, codes.data(), tokens, n, false); };
        steps[0]->produce(std::make_unique<Rearrange>(Source{kOld, Form::lanes}, backwards, n));
        steps[0]->store(Form::lanes, kReversed, first, 1, 0, bytes, 0);
        steps[1]->produce(embedding());
        steps[1]->add(kTotal, first, 1, 1, 0);
        steps[1]->store(Form::lanes, kTotal, first, 1, 0, bytes, 0);
        steps[2]->produce(embedding());
        steps[2]->affine(scale.data(), shift.data(), false, true);
        steps[2]->add_real(kReversed, first);
        steps[2]->look_up(entries.data(), kEntries, step);
        steps[2]->store(Form::lanes, kNew, first, 1, 0, bytes, 0);
        steps[2]->mul_real(kOld, first);
        steps[2]->store(Form::lanes, kOutput, first, 1, 0, bytes, 0);
        return Plan(std::move(steps), {4, bytes, bytes, bytes, bytes, bytes}, kCount);
    }

    float table_at(float x) const {
        const double place = static_cast<double>(x) / static_cast<double>(step);  // exact: a power of two
        const double near = std::clamp(std::nearbyint(place), -kEntries / 2.0, kEntries / 2.0 - 1.0);
        return entries[static_cast<std::int64_t>(near) + kEntries / 2];
    }
};

// The memories of a sequence of `times` steps of `m` images; the states begin with random numbers.
struct Run : Memories {
    std::int64_t m, times;
    Buffer<std::int32_t> token, total;
    Buffer<float> output, one, other;

    Run(const Recurrent& net, std::int64_t m_, std::int64_t times_, Random& random)
        : m(m_), times(times_), token(m_ * times_), total(m_ * net.n), output(m_ * times_ * net.n, kCanary),
          one(m_ * net.n), other(m_ * net.n, kCanary) {
        for (std::int64_t i = 0; i < token.size; ++i) token[i] = static_cast<std::int32_t>(pick(random, 0, net.tokens - 1));
        for (std::int64_t i = 0; i < one.size; ++i) one[i] = static_cast<float>(pick(random, -99, 99)) / 64.0F;
        for (std::int64_t i = 0; i < total.size; ++i) total[i] = static_cast<std::int32_t>(pick(random, -99, 99));
    }
    std::vector<char*> memory() {
        const auto bytes = [](auto& buffer) { return reinterpret_cast<char*>(buffer.data()); };
        return {bytes(token), bytes(output), bytes(one), bytes(other), bytes(total)};
    }
    // What the network leaves, one number after the other.
    void expect(const Recurrent& net) {
        Buffer<float>*from = &one, *to = &other;
        for (std::int64_t time = 0; time < times; ++time, std::swap(from, to))
            for (std::int64_t i = 0; i < m; ++i)
                for (std::int64_t c = 0; c < net.n; ++c) {
                    const int code = net.codes[token[time * m + i] * net.n + c];
                    const volatile float scaled = static_cast<float>(code) * net.scale[c];
                    const volatile float moved = scaled + net.shift[c];
                    (*to)[i * net.n + c] = net.table_at(moved + (*from)[i * net.n + net.n - 1 - c]);
                    output[(time * m + i) * net.n + c] = (*to)[i * net.n + c] * (*from)[i * net.n + c];
                    total[i * net.n + c] += code;
                }
    }
    bool same(const Run& want) const {
        return equal(token, want.token, token.size) && equal(output, want.output, output.size) &&
               equal(one, want.one, one.size) && equal(other, want.other, other.size) &&
               equal(total, want.total, total.size);
    }
};

void check_sequence(Tally& tally, std::int64_t n, std::int64_t m, std::int64_t times) {
    Random random(static_cast<std::uint64_t>(n * 10'000 + m * 10 + times));
    const Recurrent net(n, random);
    const Run before(net, m, times, random);
    Run want = before;
    want.expect(net);
    const Plan::Sequence sequence{times, {true, true, false, false, false}, {{Memories::kOld, Memories::kNew}}};
    for (const KernelTable* table : supported_tables()) {
        const Plan plan = net.plan(table);
        for (int threads = 1; threads <= 3; ++threads) {
            const std::string what = std::string(table->name) + " sequence n=" + std::to_string(n) + " m=" + std::to_string(m) +
                                     " times=" + std::to_string(times) + " threads=" + std::to_string(threads);
            Run got = before;
            plan.run_sequence(got.memory(), m, threads, sequence);
            tally.check(got.same(want), what);
            Run single = before;  // the caller does what a sequence does
            std::vector<char*> memory = single.memory();
            for (std::int64_t time = 0; time < times; ++time) {
                plan.run(memory, m, threads);
                memory[kInput] += m * 4;
                memory[kOutput] += m * n * 4;
                std::swap(memory[Memories::kOld], memory[Memories::kNew]);
            }
            tally.check(single.same(want), what + ", one by one");
        }
    }
}

// The plan says which of the caller's memories it writes, by a store or a border alone.
void check_written(Tally& tally) {
    Random random(51);
    const Recurrent net(5, random);
    const KernelTable* table = supported_tables().front();
    const Plan plan = net.plan(table);
    const bool want[] = {false, true, false, true, true};
    for (std::size_t i = 0; i < plan.externals(); ++i) tally.check(plan.writes(i) == want[i], "plan writes " + std::to_string(i));
    auto step = std::make_unique<Step>(table, 1, 1);
    step->produce(std::make_unique<Load>(Source{kInput, Form::bytes}, std::vector<std::int64_t>{0}));
    step->border({kOutput, 0, {{0, 1}}});
    std::vector<std::unique_ptr<Step>> steps;
    steps.push_back(std::move(step));
    const Plan bordered(std::move(steps), {1, 1, 1}, 2);
    tally.check(!bordered.writes(kInput) && bordered.writes(kOutput), "plan writes a border");
}

}  // namespace

void test_sequences(Tally& tally) {
    for (const std::int64_t n : {1, 3, 15, 17, 33, 47, 63, 65, 69, 130})
        for (const std::int64_t m : {0, 1, 2, 5, 33, 100, 401})
            for (const std::int64_t times : {0, 1, 2, 5})
                if (m < 100 || n % 16 == 1 || times == 5) check_sequence(tally, n, m, times);
    check_written(tally);
}

}  // namespace featherbit::test
