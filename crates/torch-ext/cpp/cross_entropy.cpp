// The cross-entropy of a softmax: on the CPU one pass each way over the logits, in their own kind, where there would be five.
#include "catch.h"
#include "kernels.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/aminmax.h>
#include <ATen/ops/cross_entropy_loss.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>

namespace {

using at::Tensor;
using namespace torch_ext;

// Rows that are worth a thread.
constexpr int64_t GRAIN = 64;

// e^x; not a number stays none.
TORCH_EXT_INLINE Floats share(Floats x) { return not_a_number(x).pick(x, exponential(x)); }

// The largest logit, and the logarithm of the sum of e to what the others are less. Apart, lest the second drown in the first.
struct Norm {
  float top, log_sum;
};

template <typename T>
TORCH_EXT_INLINE Norm norm_of(const T* logits, int64_t classes) {
  Floats most = load(logits, Whole{}), sums{};
  for (int64_t j = LANES; j < classes; j += LANES) most = larger(load(logits + j, Whole{}), most);
  const float top = largest(most);
  for (int64_t j = 0; j < classes; j += LANES) sums += share(load(logits + j, Whole{}) - top);
  return {top, std::log(sum(sums))};
}

// The gradient of logits: `slope` times the probabilities, less `slope` at the target.
template <typename T>
TORCH_EXT_INLINE void backward(const T* logits, Norm norm, int64_t target, float slope, int64_t classes, T* gradient) {
  float at_target = 0.0f;
  for (int64_t j = 0; j < classes; j += LANES) {
    const Floats scaled = slope * share(load(logits + j, Whole{}) - norm.top - norm.log_sum);
    store(gradient + j, scaled, Whole{});
    if (j <= target && target < j + LANES) at_target = scaled[target - j];
  }
  store_one(gradient + target, at_target - slope);
}

struct CrossEntropy : torch::autograd::Function<CrossEntropy> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& logits, const Tensor& given) {
    RECORD_FUNCTION("torch_ext::cross_entropy", c10::ArrayRef<const c10::IValue>{});
    const Tensor targets = given.contiguous();
    const int64_t classes = logits.size(1), step = logits.stride(0);
    const Tensor losses = at::empty({logits.size(0)}, logits.options().dtype(at::kFloat)), norms = at::empty({logits.size(0), 2}, losses.options());
    for_kind(logits.scalar_type(), [&](auto kind) {
      using T = decltype(kind);
      const T* from = logits.const_data_ptr<T>();
      const int64_t* target = targets.const_data_ptr<int64_t>();
      float *loss = losses.mutable_data_ptr<float>(), *kept = norms.mutable_data_ptr<float>();
      for_each(logits.size(0), GRAIN, [&](int64_t i, std::vector<float>&) TORCH_EXT_VECTORISED {
        const Norm norm = norm_of(from + i * step, classes);
        loss[i] = (norm.top - load_one(from + i * step + target[i])) + norm.log_sum;
        kept[2 * i] = norm.top;
        kept[2 * i + 1] = norm.log_sum;
      });
    });
    context->save_for_backward({logits, targets, norms});
    return losses;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    RECORD_FUNCTION("torch_ext::cross_entropy_backward", c10::ArrayRef<const c10::IValue>{});
    TORCH_CHECK(!at::GradMode::is_enabled(), "cross_entropy cannot be differentiated twice on the CPU");
    const auto saved = context->get_saved_variables();
    const Tensor &logits = saved[0], &targets = saved[1], &norms = saved[2], slopes = gradients[0].contiguous();
    const int64_t classes = logits.size(1), step = logits.stride(0);
    const Tensor gradient = at::empty(logits.sizes(), logits.options());
    for_kind(logits.scalar_type(), [&](auto kind) {
      using T = decltype(kind);
      const T* from = logits.const_data_ptr<T>();
      T* to = gradient.mutable_data_ptr<T>();
      const int64_t* target = targets.const_data_ptr<int64_t>();
      const float *kept = norms.const_data_ptr<float>(), *slope = slopes.const_data_ptr<float>();
      for_each(logits.size(0), GRAIN, [&](int64_t i, std::vector<float>&) TORCH_EXT_VECTORISED {
        ::backward(from + i * step, Norm{kept[2 * i], kept[2 * i + 1]}, target[i], slope[i], classes, to + i * classes);
      });
    });
    return {gradient, Tensor()};
  }
};

Tensor cross_entropy(const Tensor& logits, const Tensor& targets) {
  TORCH_CHECK(logits.dim() == 2 && targets.dim() == 1 && targets.size(0) == logits.size(0), "cross_entropy takes logits [n, classes] and targets [n], not ", logits.sizes(), " and ", targets.sizes());
  TORCH_CHECK(targets.scalar_type() == at::kLong && targets.device() == logits.device(), "targets of cross_entropy are i64, on the device of the logits");
  const int64_t classes = logits.size(1);
  if (targets.is_cpu() && targets.numel() > 0) {
    const auto [least, most] = at::aminmax(targets);
    const int64_t first = least.item<int64_t>(), last = most.item<int64_t>();
    TORCH_CHECK_INDEX(0 <= first && last < classes, "target ", first < 0 ? first : last, " is none of ", classes, " classes");
  }
  if (has_kernels(logits) && classes % LANES == 0 && classes > 0 && logits.stride(1) == 1) return CrossEntropy::apply(logits, targets);
  const Tensor precise = logits.scalar_type() == at::kDouble ? logits : logits.to(at::kFloat);
  return at::cross_entropy_loss(precise, targets, {}, at::Reduction::None);
}

}  // namespace

// `losses` is a new tensor, the caller's.
extern "C" char* torch_ext_cross_entropy(const Tensor* logits, const Tensor* targets, Tensor** losses) {
  return torch_ext::catching([&] { *losses = new Tensor(cross_entropy(*logits, *targets)); });
}
