// Counts the floating-point operations of matrix products, convolutions and fused attention as libtorch dispatches them.
//
// An operator may call others that are counted too (a convolution its backend's, autocast the same one on cast tensors).
// So only the outermost counted operator on a thread adds to the total.
#include "catch.h"

#include <ATen/Parallel.h>
#include <ATen/record_function.h>

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string_view>
#include <unordered_map>

namespace {

using Inputs = c10::ArrayRef<c10::IValue>;
using Count = uint64_t (*)(Inputs);

at::IntArrayRef shape(Inputs in, size_t i) { return in[i].toTensor().sizes(); }

uint64_t product(at::IntArrayRef sizes) {
  uint64_t n = 1;
  for (auto size : sizes) n *= static_cast<uint64_t>(size);
  return n;
}

uint64_t size(Inputs in, size_t i, size_t dim) { return static_cast<uint64_t>(shape(in, i).at(dim)); }

// A[.., n, k] B[.., k, m], with A at input I and B after it; the sum over a batch (addbmm) counts the same.
template <size_t I>
uint64_t matrix_product(Inputs in) {
  return 2 * product(shape(in, I)) * static_cast<uint64_t>(shape(in, I + 1).back());
}

// A[n, k] x[k], or x[k] y[k].
template <size_t I>
uint64_t vector_product(Inputs in) { return 2 * product(shape(in, I)); }

// Every position of the output, or of the input if transposed, meets each weight once; so this holds for any stride,
// padding, dilation and number of groups. Products with padding count: the kernels of most backends do compute them.
uint64_t convolution_at(at::IntArrayRef positions_of, at::IntArrayRef weight) {
  return 2 * static_cast<uint64_t>(positions_of[0]) * product(positions_of.slice(2)) * product(weight);
}

// input, weight, bias, stride, padding, dilation, transposed, ...
uint64_t convolution(Inputs in) {
  const auto input = shape(in, 0), weight = shape(in, 1);
  if (in[6].toBool()) return convolution_at(input, weight);
  const auto stride = in[3].toIntVector(), padding = in[4].toIntVector(), dilation = in[5].toIntVector();
  std::vector<int64_t> output = {input[0], weight[0]};
  for (size_t d = 0; d + 2 < input.size(); d++) {
    // One number may stand for all dimensions.
    const auto of = [d](const std::vector<int64_t>& v) { return v[v.size() == 1 ? 0 : d]; };
    output.push_back((input[d + 2] + 2 * of(padding) - of(dilation) * (weight[d + 2] - 1) - 1) / of(stride) + 1);
  }
  return convolution_at(output, weight);
}

// grad_output, input, weight, bias_sizes, stride, padding, dilation, transposed, output_padding, groups, output_mask:
// the gradients of input and of weight cost what the convolution did, that of the bias is a sum.
uint64_t convolution_backward(Inputs in) {
  const auto wanted = in[10].toBoolList();
  const uint64_t products = (wanted[0] ? 1 : 0) + (wanted[1] ? 1 : 0);
  return products * convolution_at(shape(in, in[7].toBool() ? 1 : 0), shape(in, 2));
}

// query [.., lq, d], key [.., lk, d], value [.., lk, dv], first of them at input I. Masked pairs count.
template <size_t I>
uint64_t attention_pairs(Inputs in) {
  const auto query = shape(in, I), key = shape(in, I + 1);
  return product(query.slice(0, query.size() - 1)) * static_cast<uint64_t>(key[key.size() - 2]);
}

// Two products: queries with keys, weights with values.
uint64_t attention(Inputs in) {
  return 2 * attention_pairs<0>(in) * static_cast<uint64_t>(shape(in, 0).back() + shape(in, 2).back());
}

// grad_out, query, key, value, ...: five products, for the fused kernels compute the scores again.
uint64_t attention_backward(Inputs in) {
  return 2 * attention_pairs<1>(in) * static_cast<uint64_t>(3 * shape(in, 1).back() + 2 * shape(in, 3).back());
}

// linear, matmul, einsum, scaled_dot_product_attention and the like are made of these. Every convolution passes
// through `convolution` or `_convolution`, whatever its backend; its double backward is made of them too.
const std::unordered_map<std::string_view, Count> counts = {
    {"aten::mm", matrix_product<0>},
    {"aten::bmm", matrix_product<0>},
    {"aten::addmm", matrix_product<1>},
    {"aten::addmm_", matrix_product<1>},
    {"aten::_addmm_activation", matrix_product<1>},
    {"aten::baddbmm", matrix_product<1>},
    {"aten::baddbmm_", matrix_product<1>},
    {"aten::addbmm", matrix_product<1>},
    {"aten::addbmm_", matrix_product<1>},
    {"aten::mv", vector_product<0>},
    {"aten::dot", vector_product<0>},
    {"aten::addmv", vector_product<1>},
    {"aten::addmv_", vector_product<1>},
    {"aten::convolution", convolution},
    {"aten::_convolution", convolution},
    {"aten::convolution_backward", convolution_backward},
    {"aten::_scaled_dot_product_flash_attention", attention},
    {"aten::_scaled_dot_product_flash_attention_backward", attention_backward},
    {"aten::_scaled_dot_product_flash_attention_for_cpu", attention},
    {"aten::_scaled_dot_product_flash_attention_for_cpu_backward", attention_backward},
    {"aten::_scaled_dot_product_efficient_attention", attention},
    {"aten::_scaled_dot_product_efficient_attention_backward", attention_backward},
    {"aten::_scaled_dot_product_cudnn_attention", attention},
    {"aten::_scaled_dot_product_cudnn_attention_backward", attention_backward},
    {"aten::_scaled_dot_product_fused_attention_overrideable", attention},
    {"aten::_scaled_dot_product_fused_attention_overrideable_backward", attention_backward},
};

std::atomic<uint64_t> total{0};
thread_local int depth = 0;

struct Counted : at::ObserverContext {};

std::unique_ptr<at::ObserverContext> on_start(const at::RecordFunction& op) {
  const auto count = counts.find(op.name());
  // Inside a kernel's own parallel loop the operator that runs it was counted, on another thread.
  if (count == counts.end() || at::in_parallel_region()) return nullptr;
  if (depth == 0) total.fetch_add(count->second(op.inputs()), std::memory_order_relaxed);
  depth++;
  return std::make_unique<Counted>();
}

void on_end(const at::RecordFunction&, at::ObserverContext* counted) {
  if (counted) depth--;
}

// libtorch's callbacks carry no data of their own, so one serves all counters, while there are any.
std::mutex users_mutex;
int users = 0;
at::CallbackHandle handle;

}  // namespace

// Both give the total so far; what a counter counted is the difference (exact, even when the total wraps).
extern "C" char* torch_ext_flops_start(uint64_t* so_far) {
  return torch_ext::catching([&] {
    std::lock_guard<std::mutex> lock(users_mutex);
    if (users == 0) handle = at::addGlobalCallback(at::RecordFunctionCallback(on_start, on_end).needsInputs(true).scopes({at::RecordScope::FUNCTION}));
    users++;
    *so_far = total.load(std::memory_order_relaxed);
  });
}

extern "C" char* torch_ext_flops_stop(uint64_t* so_far) {
  return torch_ext::catching([&] {
    std::lock_guard<std::mutex> lock(users_mutex);
    *so_far = total.load(std::memory_order_relaxed);
    if (--users == 0) at::removeCallback(handle);
  });
}
