// The binding: check sizes, release the GIL, call. No arithmetic here; messages for people are made in Python. One file,
// though long: nothing else knows Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "dispatch.h"
#include "plan/plan.h"

namespace nb = nanobind;
using namespace featherbit;

namespace {

template <class T, int D>
using In = nb::ndarray<const T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
template <class T, int D>
using Out = nb::ndarray<T, nb::ndim<D>, nb::c_contig, nb::device::cpu>;
using AnyIn = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using AnyOut = nb::ndarray<nb::c_contig, nb::device::cpu>;

void require(bool holds, const char* what) {
    if (!holds) throw std::invalid_argument(what);
}

std::int64_t rows(const auto& array) { return static_cast<std::int64_t>(array.shape(0)); }
std::int64_t columns(const auto& array) { return static_cast<std::int64_t>(array.shape(1)); }

const KernelTable& table_of(const std::string& isa) {
    const KernelTable* table = find_table(isa.c_str());
    require(table != nullptr && table->supported(), "this ISA is not available");
    return *table;
}

std::vector<std::string> compiled_isas() {
    std::vector<std::string> names;
    for (const KernelTable* table : compiled_tables()) names.emplace_back(table->name);
    return names;
}

bool isa_supported(const std::string& isa) {
    const KernelTable* table = find_table(isa.c_str());
    return table != nullptr && table->supported();
}

// The weights of a product, repacked once for one of the two products.
struct Panel {
    std::int64_t n, k;
    AlignedArray<std::uint32_t> u1;
    AlignedArray<std::uint64_t> u8;

    Panel(In<std::uint64_t, 2> weights, std::int64_t k_, bool bytes) : n(rows(weights)), k(k_) {
        require(k >= 0 && columns(weights) == words_per_row(k), "weights have a wrong row length");
        if (bytes) {
            u8 = make_panel_u8(weights.data(), n, k);
        } else {
            u1 = make_panel_u1(weights.data(), n, k);
        }
    }
    void multiply(const std::string& isa, const void* a, std::int64_t m, Out<std::int32_t, 2> out, int threads) const {
        require(threads >= 1 && rows(out) == m && columns(out) == n, "the result has a wrong shape");
        const Product product{&table_of(isa), n, k, u1.get(), u8.get()};
        Sink sink;
        sink.acc = out.data();
        sink.acc_stride = n;
        const nb::gil_scoped_release unlocked;
        product.parallel(a, m, sink, threads);
    }
};

void gemm_u1u1(const std::string& isa, In<std::uint64_t, 2> a, const Panel& panel, Out<std::int32_t, 2> out,
               int threads) {
    require(panel.u1 != nullptr && columns(a) == words_per_row(panel.k), "activations have a wrong row length");
    panel.multiply(isa, a.data(), rows(a), out, threads);
}

void gemm_u8u1(const std::string& isa, In<std::uint8_t, 2> a, const Panel& panel, Out<std::int32_t, 2> out,
               int threads) {
    require(panel.u8 != nullptr && columns(a) == panel.k, "activations have a wrong row length");
    panel.multiply(isa, a.data(), rows(a), out, threads);
}

void pack_f32u1(const std::string& isa, In<float, 2> x, Out<std::uint64_t, 2> out, int threads) {
    const std::int64_t m = rows(x), k = columns(x), words = words_per_row(k);
    require(threads >= 1 && rows(out) == m && columns(out) == words, "the result has a wrong shape");
    const KernelTable& table = table_of(isa);
    const nb::gil_scoped_release unlocked;
#pragma omp parallel for num_threads(threads) schedule(static, 1)
    for (int part = 0; part < threads; ++part) {
        const Range range = split(m, 1, threads, part);
        table.pack_f32u1(x.data() + range.begin * k, range.end - range.begin, k, out.data() + range.begin * words);
    }
}

void threshold_i32u1(const std::string& isa, In<std::int32_t, 2> acc, In<std::int32_t, 1> thresholds,
                     In<std::uint64_t, 1> flips, Out<std::uint64_t, 2> out) {
    const std::int64_t m = rows(acc), n = columns(acc), words = words_per_row(n);
    require(rows(thresholds) == groups_of(n) * kGroup && rows(flips) == words, "thresholds have a wrong length");
    require(rows(out) == m && columns(out) == words, "the result has a wrong shape");
    Sink sink;
    sink.thresholds = thresholds.data();
    sink.flips = flips.data();
    sink.bits = out.data();
    sink.bits_stride = words;
    const KernelTable& table = table_of(isa);
    const nb::gil_scoped_release unlocked;
    table.threshold_i32u1(acc.data(), m, n, sink);
}

using Offsets = In<std::int64_t, 1>;

std::vector<std::int64_t> offsets(const Offsets& array) { return {array.data(), array.data() + rows(array)}; }

// A stored value, as the planner describes it: memory, form, whether its codes are signs, planes and their distance.
Source make_source(int memory, Form form, bool sign, std::int64_t planes, std::int64_t plane_bytes) {
    return Source{memory, form, sign, planes, plane_bytes};
}

// A step being made; the plan takes it.
class StepBuilder {
   public:
    StepBuilder(const std::string& isa, std::int64_t rows, std::int64_t n)
        : table_(&table_of(isa)), rows_(rows), n_(n), step_(std::make_unique<Step>(table_, rows, n)) {
        require(rows >= 1 && n >= 1, "a step has at least one row and one column");
    }
    std::unique_ptr<Step> take() {
        require(step_ != nullptr, "a step belongs to one plan");
        return std::move(step_);
    }

    void load(const Source& source, Offsets at) {
        require(rows(at) == rows_, "one offset for each row is needed");
        step_->produce(std::make_unique<Load>(source, offsets(at)));
    }
    void concat(const std::vector<Source>& sources, const std::vector<Offsets>& at, const std::vector<std::int64_t>& n) {
        require(sources.size() == at.size() && at.size() == n.size(), "each input has a source, offsets and columns");
        std::vector<Concat::Input> inputs;
        for (std::size_t i = 0; i < n.size(); ++i) inputs.push_back({sources[i], offsets(at[i]), n[i]});
        step_->produce(std::make_unique<Concat>(std::move(inputs)));
    }
    void rearrange(const Source& source, Offsets locations) {
        require(rows(locations) == rows_ * n_, "one location for each value is needed");
        step_->produce(std::make_unique<Rearrange>(source, offsets(locations), n_));
    }
    void planar(const Source& source, Offsets at, std::int64_t channel_bytes) {
        require(rows(at) == rows_, "one offset for each row is needed");
        step_->produce(std::make_unique<Planar>(source, offsets(at), channel_bytes));
    }
    void embedding(int memory, In<std::uint8_t, 2> codes, bool sign) {
        require(columns(codes) == n_, "codes have a wrong row length");
        step_->produce(std::make_unique<Embedding>(memory, rows_, codes.data(), rows(codes), n_, sign));
    }
    void pool(const Source& source, PoolKind kind, Offsets windows, std::int64_t places, std::int32_t zero_point) {
        require(rows(windows) == rows_ * places, "one offset for each place of each window is needed");
        step_->produce(std::make_unique<Pool>(table_, source, kind, offsets(windows), places, zero_point));
    }
    void dense(int memory, In<std::uint64_t, 2> words, std::int64_t k, bool bytes, std::int64_t zero_point) {
        const Weights weights = weights_of(words, n_, 1, k, 1, Encoding::sign);
        step_->produce(std::make_unique<DenseProduct>(table_, memory, weights, bytes, zero_point));
    }
    void gather(Form kernel, const Activations& activations, const Padding& padding, In<std::uint64_t, 2> words,
                std::int64_t taps, std::int64_t channels, std::int64_t planes, Encoding encoding, std::int64_t groups) {
        require(static_cast<std::int64_t>(activations.rows.size()) == rows_ && groups >= 1 && n_ % groups == 0,
                "one offset for each row and whole groups are needed");
        require(static_cast<std::int64_t>(padding.row_class.size()) == rows_ &&
                    static_cast<std::int64_t>(activations.runs.size()) * padding.run_taps == taps,
                "one class for each row and whole runs are needed");
        const Weights weights = weights_of(words, n_, taps, channels, planes, encoding);
        auto product = std::make_unique<GatherProduct>(table_, kernel, activations, weights, groups, padding);
        const std::vector<std::int32_t> corrections = product->corrections();
        step_->produce(std::move(product));
        if (!corrections.empty()) step_->correct(corrections.data(), padding.classes(taps), padding.row_class);
    }
    void max_rows(std::int64_t height, std::int64_t width, std::int64_t row_pixels, std::int64_t stride,
                  std::int64_t before, std::int64_t across) {
        require(height >= 1 && stride >= 1 && before >= 0 && before < stride && across >= 1 && row_pixels >= 1 &&
                    rows_ % (height * row_pixels) == 0 && (across - 1) * stride - before < row_pixels &&
                    across <= row_pixels && (height == 1 || (stride == width && row_pixels == across * width)),
                "each window must see the image");
        step_->max_rows(height, width, row_pixels, stride, before, across);
    }
    void affine(In<float, 1> multiplier, In<float, 1> addend, bool fused, bool from_integers) {
        require(rows(multiplier) == n_ && rows(addend) == n_, "multiplier and addend have a wrong length");
        step_->affine(multiplier.data(), addend.data(), fused, from_integers);
    }
    void add(int memory, Offsets at, std::int32_t mine, std::int32_t other, std::int32_t shift) {
        step_->add(memory, offsets(at), mine, other, shift);
    }
    void add_real(int memory, Offsets at) { step_->add_real(memory, offsets(at)); }
    void mul_real(int memory, Offsets at) { step_->mul_real(memory, offsets(at)); }
    void prelu(In<float, 1> slope) {
        require(rows(slope) == n_, "slope has a wrong length");
        step_->prelu(slope.data());
    }
    void clamp(float low, float high) { step_->clamp(low, high); }
    void threshold(In<std::int32_t, 1> thresholds, In<std::uint64_t, 1> flips) {
        require(rows(thresholds) == n_ && rows(flips) == words_per_row(n_), "thresholds have a wrong length");
        step_->threshold(thresholds.data(), flips.data());
    }
    void count(In<std::int32_t, 2> thresholds, In<std::uint64_t, 1> flips) {
        require(rows(thresholds) == n_ && rows(flips) == words_per_row(n_), "thresholds have a wrong length");
        step_->count(thresholds.data(), columns(thresholds), flips.data());
    }
    void count_by_line(In<std::int32_t, 2> thresholds, In<std::uint64_t, 1> flips, In<float, 1> multiplier,
                       In<float, 1> addend, float slack) {
        require(rows(thresholds) == n_ && rows(flips) == words_per_row(n_) && rows(multiplier) == n_ &&
                    rows(addend) == n_,
                "thresholds have a wrong length");
        step_->count_by_line(thresholds.data(), columns(thresholds), flips.data(), multiplier.data(), addend.data(),
                             slack);
    }
    void quantize(float step, std::int32_t low, std::int32_t high) { step_->quantize(step, low, high); }
    void sign_real() { step_->sign_real(); }
    void look_up(In<float, 1> table, float step) {
        require(rows(table) >= 2 && rows(table) % 2 == 0 && rows(table) <= kMostEntries,
                "a table has an even number of entries");
        step_->look_up(table.data(), rows(table), step);
    }
    void store(const Source& target, Offsets at, std::int64_t pixel_bytes) {
        step_->store(target.form, target.memory, offsets(at), target.planes, target.plane_bytes, pixel_bytes,
                     target.sign && target.form == Form::bytes ? 1 : 0);
    }
    void border(int memory, int value, Offsets begins, Offsets bytes) {
        require(rows(begins) == rows(bytes), "each run has a beginning and a length");
        Border border{memory, value, {}};
        for (std::int64_t i = 0; i < rows(begins); ++i) border.runs.push_back({begins.data()[i], bytes.data()[i]});
        step_->border(std::move(border));
    }

   private:
    static Weights weights_of(In<std::uint64_t, 2> words, std::int64_t n, std::int64_t taps, std::int64_t channels,
                              std::int64_t planes, Encoding encoding) {
        require(rows(words) == planes * n && columns(words) == words_per_row(taps * channels),
                "weights have a wrong shape");
        return Weights{words.data(), n, taps, channels, planes, encoding};
    }

    const KernelTable* table_;
    std::int64_t rows_, n_;
    std::unique_ptr<Step> step_;
};

Activations make_activations(int memory, Offsets at, Offsets runs, std::int64_t run_length, bool sign,
                             std::int64_t planes, std::int64_t plane_bytes, std::int32_t zero_point,
                             std::int32_t largest, std::int64_t group_bytes, std::int32_t border_code) {
    return Activations{memory,      offsets(at), offsets(runs), run_length,  sign,       planes,
                       plane_bytes, zero_point,  largest,       group_bytes, border_code};
}

Padding make_padding(In<std::uint8_t, 2> missing, In<std::uint16_t, 1> row_class, std::int64_t run_taps,
                     std::int32_t delta) {
    return Padding{{missing.data(), missing.data() + rows(missing) * columns(missing)},
                   {row_class.data(), row_class.data() + rows(row_class)},
                   run_taps,
                   delta};
}

// Whether an array holds `times` times `m` images of `row_bytes`; no product of the three need fit an integer.
bool holds(const auto& array, std::int64_t row_bytes, std::int64_t m, std::int64_t times = 1) {
    if (row_bytes == 0 || m == 0) return true;
    return times <= static_cast<std::int64_t>(array.nbytes()) / row_bytes / m;
}

// Bytes that begin on a cache line, freed with their array.
nb::ndarray<nb::numpy, std::uint8_t, nb::ndim<1>> aligned_bytes(std::size_t bytes) {
    AlignedArray<std::uint8_t> memory = make_aligned<std::uint8_t>(bytes);
#if defined(__linux__)
    constexpr std::size_t kLarge = std::size_t{4} << 20, kPage = 4096;
    if (bytes >= kLarge) {  // as numpy does: fewer page faults where it helps, no harm where not
        const auto at = reinterpret_cast<std::uintptr_t>(memory.get()), first = (at + kPage - 1) / kPage * kPage;
        madvise(reinterpret_cast<void*>(first), (at + bytes - first) / kPage * kPage, MADV_HUGEPAGE);
    }
#endif
    const nb::capsule owner(memory.get(), [](void* at) noexcept { AlignedArray<std::uint8_t>(static_cast<std::uint8_t*>(at)); });
    return {memory.release(), {bytes}, owner};
}

using Taps = std::vector<std::tuple<std::size_t, int, AnyOut>>;

// Where a network's memories are, and what makes them: the caller's arrays, then what crosses from phase to phase.
class Memories {
   public:
    // `arrays`: input, output, and for each state what a step takes over and what it leaves. Only states have one image of
    // each sequence; all else has one for each step.
    Memories(const std::vector<const Plan*>& plans, const std::vector<nb::object>& arrays, std::size_t states,
             std::int64_t steps, std::int64_t m) {
        const Plan& any = plans[1] != nullptr ? *plans[1] : *plans[0];  // the plan of the steps knows the states' sizes
        const std::vector<std::int64_t>& row_bytes = any.row_bytes();
        require(arrays.size() == 2 + 2 * states && any.externals() >= arrays.size(),
                "a network's arrays are its input, its output and its states");
        for (const Plan* plan : plans) {
            require(plan == nullptr || plan->externals() == any.externals(), "the plans of a network share their memories");
            for (std::size_t i = 0; plan != nullptr && i < any.externals(); ++i) {
                const bool stateless = i >= 2 && i < arrays.size() && plan->row_bytes()[i] == 0;
                require(plan->row_bytes()[i] == row_bytes[i] || stateless, "the plans of a network share their memories");
            }
        }
        for (std::size_t i = 0; i < arrays.size(); ++i) {
            const auto writes = [&](const Plan* plan) { return plan != nullptr && plan->writes(i); };
            AnyIn array;
            AnyOut writable;
            require(nb::try_cast(arrays[i], array, false), "an external memory is a C-contiguous array on the CPU");
            require(std::none_of(plans.begin(), plans.end(), writes) || nb::try_cast(arrays[i], writable, false),
                    "the plan writes a read-only array");
            require(holds(array, row_bytes[i], m, i < 2 ? steps : 1), "an external memory is too small");
            at_.push_back(static_cast<char*>(const_cast<void*>(array.data())));
            advances_.push_back(i < 2);
        }
        for (std::size_t i = 2; i < arrays.size(); i += 2) {
            require(row_bytes[i] == row_bytes[i + 1], "a state is as large before a step as after it");
            swaps_.emplace_back(static_cast<int>(i), static_cast<int>(i + 1));
        }
        for (std::size_t i = arrays.size(); i < any.externals(); ++i) {
            std::int64_t images = 0, bytes = 0;
            require(!__builtin_mul_overflow(steps, m, &images) && !__builtin_mul_overflow(row_bytes[i], images, &bytes),
                    "more images than memory can hold");
            crossing_.push_back(make_aligned<char>(static_cast<std::size_t>(bytes)));
            at_.push_back(crossing_.back().get());
            advances_.push_back(true);
        }
    }
    const std::vector<char*>& at() const { return at_; }
    Plan::Sequence sequence(std::int64_t steps) const { return {steps, advances_, swaps_}; }

   private:
    std::vector<char*> at_;
    std::vector<bool> advances_;
    std::vector<std::pair<int, int>> swaps_;
    std::vector<AlignedArray<char>> crossing_;
};

std::vector<Plan::Tap> native_taps(const Plan& plan, const Taps& taps, std::int64_t m) {
    std::vector<Plan::Tap> native;
    for (const auto& [step, from, to] : taps) {
        require(step < plan.steps() && from >= 0 && from < static_cast<int>(plan.row_bytes().size()) &&
                    holds(to, plan.row_bytes()[static_cast<std::size_t>(from)], m),
                "a tap has a wrong step, memory or size");
        native.push_back({step, from, static_cast<char*>(to.data())});
    }
    return native;
}

// Run the plans of a network before, in and after its steps, those that it has. `taps`: none, or of each plan, for one step.
// `phases` keeps the plans alive, whatever becomes of the list that they came in.
void run(const std::vector<nb::object>& phases, const std::vector<nb::object>& arrays, std::size_t states,
         std::int64_t steps, std::int64_t m, int threads, const std::vector<Taps>& taps) {
    require(threads >= 1 && m >= 0 && steps >= 0, "a run needs at least one thread, and no count is negative");
    std::vector<const Plan*> plans;
    for (const nb::object& phase : phases) plans.push_back(phase.is_none() ? nullptr : nb::cast<const Plan*>(phase));
    require(plans.size() == 3 && (plans[0] != nullptr || plans[1] != nullptr), "a network has plans for three phases");
    require(taps.empty() || (taps.size() == plans.size() && steps == 1), "taps are for each plan, of one step");
    const Memories memories(plans, arrays, states, steps, m);
    std::vector<std::vector<Plan::Tap>> native(plans.size());
    for (std::size_t i = 0; i < taps.size(); ++i)
        if (plans[i] != nullptr) native[i] = native_taps(*plans[i], taps[i], m);
    const nb::gil_scoped_release unlocked;
    for (std::size_t i = 0; i < plans.size(); ++i) {
        if (plans[i] == nullptr) continue;
        if (i == 1 && taps.empty()) {
            plans[i]->run_sequence(memories.at(), m, threads, memories.sequence(steps));
        } else {
            plans[i]->run(memories.at(), steps * m, threads, native[i]);
        }
    }
}

}  // namespace

NB_MODULE(_native, module) {
    module.doc() = "The native kernels and the executor; use featherbit.kernels and featherbit.runtime instead.";
    module.def("compiled_isas", &compiled_isas);
    module.def("isa_supported", &isa_supported);
    nb::class_<Panel>(module, "Panel")
        .def(nb::init<In<std::uint64_t, 2>, std::int64_t, bool>(), nb::arg("weights"), nb::arg("k"), nb::arg("bytes"))
        .def_ro("n", &Panel::n)
        .def_ro("k", &Panel::k);
    module.def("gemm_u1u1", &gemm_u1u1);
    module.def("gemm_u8u1", &gemm_u8u1);
    module.def("pack_f32u1", &pack_f32u1);
    module.def("threshold_i32u1", &threshold_i32u1);

    nb::enum_<Form>(module, "Form")
        .value("bits", Form::bits)
        .value("planes", Form::planes)
        .value("bytes", Form::bytes)
        .value("lanes", Form::lanes);
    nb::enum_<Encoding>(module, "Encoding")
        .value("sign", Encoding::sign)
        .value("twos_complement", Encoding::twos_complement);
    nb::enum_<PoolKind>(module, "PoolKind")
        .value("max_integer", PoolKind::max_integer)
        .value("max_real", PoolKind::max_real)
        .value("sum", PoolKind::sum);
    nb::class_<Source>(module, "Source");
    module.def("source", &make_source, nb::arg("memory"), nb::arg("form"), nb::arg("sign"), nb::arg("planes"),
               nb::arg("plane_bytes"));
    nb::class_<Activations>(module, "Activations");
    module.def("activations", &make_activations, nb::arg("memory"), nb::arg("rows"), nb::arg("runs"),
               nb::arg("run_length"), nb::arg("sign"), nb::arg("planes"), nb::arg("plane_bytes"), nb::arg("zero_point"),
               nb::arg("largest"), nb::arg("group_bytes"), nb::arg("border_code"));
    nb::class_<Padding>(module, "Padding");
    module.def("padding", &make_padding, nb::arg("missing"), nb::arg("row_class"), nb::arg("run_taps"),
               nb::arg("delta"));
    nb::class_<StepBuilder>(module, "Step")
        .def(nb::init<const std::string&, std::int64_t, std::int64_t>(), nb::arg("isa"), nb::arg("rows"), nb::arg("n"))
        .def("load", &StepBuilder::load)
        .def("concat", &StepBuilder::concat)
        .def("rearrange", &StepBuilder::rearrange)
        .def("planar", &StepBuilder::planar)
        .def("embedding", &StepBuilder::embedding)
        .def("pool", &StepBuilder::pool)
        .def("dense", &StepBuilder::dense)
        .def("gather", &StepBuilder::gather)
        .def("max_rows", &StepBuilder::max_rows)
        .def("affine", &StepBuilder::affine)
        .def("add", &StepBuilder::add)
        .def("add_real", &StepBuilder::add_real)
        .def("mul_real", &StepBuilder::mul_real)
        .def("prelu", &StepBuilder::prelu)
        .def("clamp", &StepBuilder::clamp)
        .def("threshold", &StepBuilder::threshold)
        .def("count", &StepBuilder::count)
        .def("count_by_line", &StepBuilder::count_by_line)
        .def("quantize", &StepBuilder::quantize)
        .def("sign_real", &StepBuilder::sign_real)
        .def("look_up", &StepBuilder::look_up)
        .def("store", &StepBuilder::store)
        .def("border", &StepBuilder::border);
    nb::class_<Plan>(module, "Plan")
        .def("__init__",
             [](Plan* self, std::vector<StepBuilder*> builders, const std::vector<std::int64_t>& row_bytes,
                std::size_t externals) {
                 require(externals <= row_bytes.size(), "each external memory has a size");
                 std::vector<std::unique_ptr<Step>> steps;
                 for (StepBuilder* builder : builders) steps.push_back(builder->take());
                 new (self) Plan(std::move(steps), row_bytes, externals);
             },
             nb::arg("steps"), nb::arg("row_bytes"), nb::arg("externals") = 2)
        .def_prop_ro("panel_bytes", &Plan::panel_bytes)
        .def_prop_ro("arena_bytes", &Plan::arena_bytes);
    module.def("aligned_bytes", &aligned_bytes, nb::arg("bytes"));
    module.def("run", &run, nb::arg("plans"), nb::arg("arrays"), nb::arg("states"), nb::arg("steps"), nb::arg("m"),
               nb::arg("threads"), nb::arg("taps"));
}
