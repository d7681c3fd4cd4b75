// A bias and a gate as one operation: on the CPU one pass over the features where there would be two.
#include "catch.h"
#include "kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/glu.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <type_traits>

namespace {

using at::Tensor;
using namespace torch_ext;

// Of one image: `gates` channels go in and `gates / 2` come out.
struct Shape {
  int64_t positions, gates;
};

// `bias` is one for all positions if `step` is 0, else one a position, `step` numbers apart.
template <typename T>
TORCH_EXT_INLINE void forward(const Shape& shape, const T* x, const float* bias, int64_t step, T* sum, T* gated) {
  const int64_t n = shape.gates, c = n / 2;
  for (int64_t p = 0; p < shape.positions; p++) {
    const T* x_here = x + p * n;
    const float* bias_here = bias + p * step;
    T *sum_here = sum + p * n, *gated_here = gated + p * c;
    for_lanes(c, [&](int64_t j, auto count) TORCH_EXT_VECTORISED {
      const Floats a = load(x_here + j, count) + load(bias_here + j, count);
      const Floats b = load(x_here + c + j, count) + load(bias_here + c + j, count);
      store(sum_here + j, a, count);
      store(sum_here + c + j, b, count);
      store(gated_here + j, a * sigmoid(b), count);
    });
  }
}

// The gradient of the sum, from those of both results, of which one may be missing; `dbias` is its sum over positions.
template <bool of_sum, bool of_gated, typename T>
TORCH_EXT_INLINE void backward(const Shape& shape, const T* sum, const T* dsum, const T* dgated, T* dx, float* dbias) {
  const int64_t n = shape.gates, c = n / 2;
  for (int64_t j = 0; j < n; j++) dbias[j] = 0.0f;
  for (int64_t p = 0; p < shape.positions; p++) {
    const T* sum_here = sum + p * n;
    T* dx_here = dx + p * n;
    for_lanes(c, [&](int64_t j, auto count) TORCH_EXT_VECTORISED {
      Floats da{}, db{};
      if constexpr (of_gated) {
        const Floats s = sigmoid(load(sum_here + c + j, count));
        da = load(dgated + p * c + j, count) * s;
        db = da * load(sum_here + j, count) * (1.0f - s);
      }
      if constexpr (of_sum) {
        da += load(dsum + p * n + j, count);
        db += load(dsum + p * n + c + j, count);
      }
      store(dx_here + j, da, count);
      store(dx_here + c + j, db, count);
      store(dbias + j, load(dbias + j, count) + da, count);
      store(dbias + c + j, load(dbias + c + j, count) + db, count);
    });
  }
}

bool everywhere_the_same(const Tensor& bias) { return bias.size(2) == 1 && bias.size(3) == 1; }

struct BiasGate : torch::autograd::Function<BiasGate> {
  static torch::autograd::variable_list forward(torch::autograd::AutogradContext* context, const Tensor& features, const Tensor& biases) {
    RECORD_FUNCTION("torch_ext::bias_gate", c10::ArrayRef<const c10::IValue>{});
    const Tensor x = channels_last(features);
    const bool same = everywhere_the_same(biases);
    const Tensor bias = same ? plain_floats(biases) : channels_last(biases.to(at::kFloat));
    const Shape shape{x.size(2) * x.size(3), x.size(1)};
    const Tensor sum = at::empty_like(x), gated = at::empty({x.size(0), shape.gates / 2, x.size(2), x.size(3)}, x.options(), at::MemoryFormat::ChannelsLast);
    for_kind(x.scalar_type(), [&](auto kind) {
      using T = decltype(kind);
      const T* x_data = x.const_data_ptr<T>();
      const float* bias_data = bias.const_data_ptr<float>();
      T *sum_data = sum.mutable_data_ptr<T>(), *gated_data = gated.mutable_data_ptr<T>();
      for_each(x.size(0), 1, [&](int64_t i, std::vector<float>&) TORCH_EXT_VECTORISED {
        const int64_t at = i * shape.positions * shape.gates;
        ::forward(shape, x_data + at, bias_data + (same ? i * shape.gates : at), same ? 0 : shape.gates, sum_data + at, gated_data + at / 2);
      });
    });
    context->set_materialize_grads(false);
    context->save_for_backward({sum});
    context->saved_data["same"] = same;
    context->saved_data["bias_kind"] = static_cast<int64_t>(biases.scalar_type());
    return {sum, gated};
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    RECORD_FUNCTION("torch_ext::bias_gate_backward", c10::ArrayRef<const c10::IValue>{});
    TORCH_CHECK(!at::GradMode::is_enabled(), "bias_gate cannot be differentiated twice on the CPU");
    const Tensor sum = context->get_saved_variables()[0];
    const auto laid_out = [&](const Tensor& gradient) { return gradient.defined() ? channels_last(gradient.to(sum.scalar_type())) : gradient; };
    const Tensor dsum = laid_out(gradients[0]), dgated = laid_out(gradients[1]);
    if (!dsum.defined() && !dgated.defined()) return {Tensor(), Tensor()};
    const Shape shape{sum.size(2) * sum.size(3), sum.size(1)};
    const Tensor dx = at::empty_like(sum), dbias = at::empty({sum.size(0), shape.gates, 1, 1}, sum.options().dtype(at::kFloat));
    for_kind(sum.scalar_type(), [&](auto kind) {
      using T = decltype(kind);
      const auto data = [](const Tensor& gradient) { return gradient.defined() ? gradient.const_data_ptr<T>() : nullptr; };
      const T *sum_data = sum.const_data_ptr<T>(), *dsum_data = data(dsum), *dgated_data = data(dgated);
      T* dx_data = dx.mutable_data_ptr<T>();
      float* dbias_data = dbias.mutable_data_ptr<float>();
      const auto behind = [](const T* first, int64_t numbers) { return first ? first + numbers : nullptr; };
      const auto run = [&](auto of_sum, auto of_gated) {
        for_each(sum.size(0), 1, [&](int64_t i, std::vector<float>&) TORCH_EXT_VECTORISED {
          const int64_t at = i * shape.positions * shape.gates;
          ::backward<of_sum.value, of_gated.value>(shape, sum_data + at, behind(dsum_data, at), behind(dgated_data, at / 2), dx_data + at, dbias_data + i * shape.gates);
        });
      };
      if (!dgated_data) run(std::true_type{}, std::false_type{});
      else if (!dsum_data) run(std::false_type{}, std::true_type{});
      else run(std::true_type{}, std::true_type{});
    });
    const auto bias_kind = static_cast<at::ScalarType>(context->saved_data["bias_kind"].toInt());
    return {dx, (context->saved_data["same"].toBool() ? dbias : dx).to(bias_kind)};
  }
};

torch::autograd::variable_list bias_gate(const Tensor& x, const Tensor& bias) {
  TORCH_CHECK(x.dim() == 4 && x.size(1) % 2 == 0, "bias_gate takes features [n, 2c, h, w], not ", x.sizes());
  TORCH_CHECK(bias.dim() == 4 && bias.size(0) == x.size(0) && bias.size(1) == x.size(1) && (everywhere_the_same(bias) || bias.sizes() == x.sizes()), "bias_gate of ", x.sizes(), " has a bias ",
              bias.sizes());
  TORCH_CHECK(bias.device() == x.device(), "bias_gate of features on ", x.device(), " has a bias on ", bias.device());
  if (has_kernels(x)) return BiasGate::apply(x, bias);
  const Tensor sum = x + bias.to(x.scalar_type());
  return {sum, at::glu(sum, 1)};
}

}  // namespace

// `sum` and `gated` are new tensors, the caller's.
extern "C" char* torch_ext_bias_gate(const Tensor* x, const Tensor* bias, Tensor** sum, Tensor** gated) {
  return torch_ext::catching([&] {
    const auto both = bias_gate(*x, *bias);
    *sum = new Tensor(both[0]);
    *gated = new Tensor(both[1]);
  });
}
