// One fused AdamW update over lists of tensors that the caller owns.
#include "catch.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_add.h>
#include <ATen/ops/_foreach_sub.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty_like.h>

#include <optional>
#include <vector>

namespace {

using at::Tensor;

// The kernel on the CPU walks raw memory and trusts that all five lists have one dtype and one layout: what it trusts is checked here.
void check(size_t i, const Tensor& param, const Tensor& grad, const Tensor& exp_avg, const Tensor& exp_avg_sq, const Tensor& step) {
  TORCH_CHECK(param.defined() && grad.defined() && exp_avg.defined() && exp_avg_sq.defined() && step.defined(), "parameter ", i, ": it, its gradient or its state is undefined");
  TORCH_CHECK(at::isFloatingType(param.scalar_type()), "parameter ", i, " is ", param.scalar_type(), ", not floating point");
  TORCH_CHECK(param.is_non_overlapping_and_dense(), "parameter ", i, " is a view with gaps or overlaps");
  TORCH_CHECK(grad.sizes() == param.sizes(), "parameter ", i, " has shape ", param.sizes(), ", its gradient ", grad.sizes());
  TORCH_CHECK(grad.device() == param.device(), "parameter ", i, " is on ", param.device(), ", its gradient on ", grad.device());
  for (const Tensor* state : {&exp_avg, &exp_avg_sq}) {
    TORCH_CHECK(state->sizes() == param.sizes() && state->strides() == param.strides(), "parameter ", i, " and its moments differ in shape or layout");
    TORCH_CHECK(state->scalar_type() == param.scalar_type() && state->device() == param.device(), "parameter ", i, " and its moments differ in kind or device");
  }
  TORCH_CHECK(step.numel() == 1 && step.scalar_type() == at::kFloat && step.device() == param.device(), "the step of parameter ", i, " is not one f32 on ", param.device());
}

// The gradient in the kind and memory layout of its parameter (an expanded or transposed one is not).
Tensor like(const Tensor& param, const Tensor& grad) {
  if (grad.scalar_type() == param.scalar_type() && grad.strides() == param.strides()) return grad;
  return at::empty_like(param).copy_(grad);
}

}  // namespace

// `skip` may be null.
extern "C" char* torch_ext_adamw(Tensor* const* params, Tensor* const* grads, Tensor* const* exp_avgs, Tensor* const* exp_avg_sqs, Tensor* const* steps, size_t n,
                                 const Tensor* skip, double lr, double beta1, double beta2, double weight_decay, double eps) {
  return torch_ext::catching([&] {
    if (n == 0) return;
    at::NoGradGuard no_grad;
    std::vector<Tensor> p, g, m, v, s;
    for (size_t i = 0; i < n; i++) {
      check(i, *params[i], *grads[i], *exp_avgs[i], *exp_avg_sqs[i], *steps[i]);
      p.push_back(*params[i]);
      g.push_back(like(p.back(), *grads[i]));
      m.push_back(*exp_avgs[i]);
      v.push_back(*exp_avg_sqs[i]);
      s.push_back(*steps[i]);
    }
    // What loss scaling calls "found infinity" leaves out the update, and the step is taken back: nobody waits for the device.
    std::optional<Tensor> found_inf;
    if (skip) {
      TORCH_CHECK(skip->defined() && skip->numel() == 1 && skip->scalar_type() == at::kFloat && skip->device() == p[0].device(), "skip is not one f32 on ", p[0].device());
      found_inf = *skip;
    }
    at::_foreach_add_(s, 1);
    at::_fused_adamw_(p, g, m, v, /*max_exp_avg_sqs=*/{}, s, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false, /*maximize=*/false, /*grad_scale=*/{}, found_inf);
    if (found_inf) at::_foreach_sub_(s, std::vector<Tensor>(n, *found_inf));
  });
}
