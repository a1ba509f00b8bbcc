# The kernels and the executor as a static library without Python; the extension and the sanitizer test both include this.
# One object per ISA with flags of its own; -ffp-contract=off: a multiplication and an addition round twice unless asked.

set(featherbit_source_dir "${CMAKE_CURRENT_LIST_DIR}")
# Beside -O3, and with partial redundancy elimination, GCC copies the accumulators of a tile through spare registers in each
# step; without both the loops hold the arithmetic alone (a sixth faster for bytes).
set(featherbit_isa_options -O2 $<$<CXX_COMPILER_ID:GNU>:-fno-tree-pre>)
set(featherbit_warnings -Wall -Wextra -Wconversion -ffp-contract=off -fvisibility=hidden)

function(featherbit_isa name)
  add_library(featherbit_isa_${name} OBJECT "${featherbit_source_dir}/isa/${name}.cpp")
  # GCC 12's own AVX-512 header trips its uninitialized-value warning.
  target_compile_options(featherbit_isa_${name} PRIVATE ${featherbit_warnings} ${featherbit_isa_options}
                                                        -fno-exceptions -Wno-conversion
                                                        -Wno-psabi -Wno-ignored-attributes -Wno-maybe-uninitialized -Wno-uninitialized ${ARGN})
  target_sources(featherbit_kernels PRIVATE $<TARGET_OBJECTS:featherbit_isa_${name}>)
endfunction()

add_library(
  featherbit_kernels STATIC
  "${featherbit_source_dir}/dispatch.cpp" "${featherbit_source_dir}/panel.cpp"
  "${featherbit_source_dir}/plan/gemm.cpp" "${featherbit_source_dir}/plan/weights.cpp"
  "${featherbit_source_dir}/plan/producer.cpp" "${featherbit_source_dir}/plan/products.cpp"
  "${featherbit_source_dir}/plan/step.cpp" "${featherbit_source_dir}/plan/plan.cpp")
target_include_directories(featherbit_kernels PUBLIC "${featherbit_source_dir}")
target_compile_options(featherbit_kernels PRIVATE ${featherbit_warnings})
target_link_libraries(featherbit_kernels PUBLIC OpenMP::OpenMP_CXX)

featherbit_isa(scalar)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(featherbit_avx512 -mfma -mavx512f -mavx512bw -mavx512dq -mavx512vl)
  featherbit_isa(avx2 -mno-avx512f -mavx2 -mfma)  # lanes.h asks for the widest that is on
  featherbit_isa(avx512 ${featherbit_avx512})
  featherbit_isa(avx512vpopcnt ${featherbit_avx512} -mavx512vpopcntdq -mavx512vnni)
elseif(CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  featherbit_isa(neon)
endif()
