// The binding: check sizes, release the GIL, call. No arithmetic here; messages for people are made in Python.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

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

StepSpec rows_step(StepKind kind, int from, int to, std::int64_t k) {
    StepSpec spec;
    spec.kind = kind;
    spec.from = from;
    spec.to = to;
    spec.n = spec.k = k;
    return spec;
}

StepSpec product_step(int from, int to, In<std::uint64_t, 2> weights, std::int64_t k, bool bytes_in,
                      std::int64_t zero_point) {
    require(k >= 0 && columns(weights) == words_per_row(k), "weights have a wrong row length");
    StepSpec spec = rows_step(StepKind::product, from, to, k);
    spec.n = rows(weights);
    spec.after = After::keep;
    spec.bytes_in = bytes_in;
    spec.zero_point = zero_point;
    spec.weights = weights.data();
    return spec;
}

void then_threshold(StepSpec& spec, In<std::int32_t, 1> thresholds, In<std::uint64_t, 1> flips) {
    require(rows(thresholds) == spec.n && rows(flips) == words_per_row(spec.n), "thresholds have a wrong length");
    spec.after = After::threshold;
    spec.thresholds = thresholds.data();
    spec.flips = flips.data();
}

void then_affine(StepSpec& spec, In<float, 1> multiplier, In<float, 1> addend, bool fused) {
    require(rows(multiplier) == spec.n && rows(addend) == spec.n, "multiplier and addend have a wrong length");
    spec.after = After::affine;
    spec.multiplier = multiplier.data();
    spec.addend = addend.data();
    spec.fused = fused;
}

void run_plan(const Plan& plan, AnyIn input, AnyOut output, std::int64_t m, int threads) {
    require(threads >= 1 && m >= 0, "a run needs at least one thread");
    require(static_cast<std::int64_t>(input.nbytes()) >= m * plan.input_row_bytes() &&
                static_cast<std::int64_t>(output.nbytes()) >= m * plan.output_row_bytes(),
            "input or output is too small");
    const nb::gil_scoped_release unlocked;
    plan.run(input.data(), m, output.data(), threads, nullptr, nullptr);
}

using Taps = std::vector<std::optional<AnyOut>>;

void trace_plan(const Plan& plan, AnyIn input, AnyOut output, std::int64_t m, int threads, Taps taps, Taps acc_taps) {
    require(static_cast<std::int64_t>(taps.size()) == plan.steps() && acc_taps.size() == taps.size(),
            "one tap for each step is needed");
    std::vector<void*> at;
    std::vector<std::int32_t*> acc_at;
    for (std::size_t i = 0; i < taps.size(); ++i) {
        const std::int64_t bytes = m * plan.row_bytes_out(static_cast<std::int64_t>(i));
        require(!taps[i] || static_cast<std::int64_t>(taps[i]->nbytes()) == bytes, "a tap has a wrong size");
        require(!acc_taps[i] || static_cast<std::int64_t>(acc_taps[i]->nbytes()) ==
                                    m * plan.acc_row_bytes(static_cast<std::int64_t>(i)),
                "an accumulator tap has a wrong size");
        at.push_back(taps[i] ? taps[i]->data() : nullptr);
        acc_at.push_back(acc_taps[i] ? static_cast<std::int32_t*>(acc_taps[i]->data()) : nullptr);
    }
    require(static_cast<std::int64_t>(input.nbytes()) >= m * plan.input_row_bytes() &&
                static_cast<std::int64_t>(output.nbytes()) >= m * plan.output_row_bytes(),
            "input or output is too small");
    const nb::gil_scoped_release unlocked;
    plan.run(input.data(), m, output.data(), threads, at.data(), acc_at.data());
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

    nb::class_<StepSpec>(module, "StepSpec")
        .def("then_threshold", &then_threshold, nb::arg("thresholds"), nb::arg("flips"))
        .def("then_affine", &then_affine, nb::arg("multiplier"), nb::arg("addend"), nb::arg("fused"));
    module.def("pack_sign_step", [](int from, int to, std::int64_t k) {
        return rows_step(StepKind::pack_sign, from, to, k);
    });
    module.def("quantize_step", [](int from, int to, std::int64_t k) {
        return rows_step(StepKind::quantize, from, to, k);
    });
    module.def("product_step", &product_step, nb::arg("source"), nb::arg("target"), nb::arg("weights"), nb::arg("k"),
               nb::arg("bytes_in"), nb::arg("zero_point"));
    nb::class_<Plan>(module, "Plan")
        .def("__init__",
             [](Plan* self, const std::string& isa, const std::vector<StepSpec>& steps,
                const std::vector<std::int64_t>& buffer_row_bytes, std::int64_t input_row_bytes,
                std::int64_t output_row_bytes) {
                 new (self) Plan(&table_of(isa), steps, buffer_row_bytes, input_row_bytes, output_row_bytes);
             })
        .def_prop_ro("panel_bytes", &Plan::panel_bytes)
        .def("run", &run_plan)
        .def("trace", &trace_plan);
}
