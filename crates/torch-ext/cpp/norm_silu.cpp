// Group normalisation, FiLM and SiLU as one operation: on the CPU three passes over the features of an image, while they are in its cache.
#include "catch.h"
#include "kernels.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/group_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

namespace {

using at::Tensor;
using namespace torch_ext;

// Features of an image lie position by position (channels last), `positions` times `channels` numbers.
struct Shape {
  int64_t images, positions, channels, groups;

  int64_t group_channels() const { return channels / groups; }
  float group_size() const { return static_cast<float>(positions * group_channels()); }
};

// What all images share, and what is an image's own: `film` is its scales, then its shifts, or null.
struct Affine {
  const float *weight, *bias, *film;

  float gain(int64_t j) const { return film ? 1.0f + film[j] : 1.0f; }
  float shift(const Shape& shape, int64_t j) const { return film ? film[shape.channels + j] : 0.0f; }
};

// Before SiLU every channel is `slope` times the features plus `offset`.
void channel_maps(const Shape& shape, const Affine& affine, const float* mean, const float* rstd, float* slope, float* offset) {
  for (int64_t j = 0; j < shape.channels; j++) {
    const int64_t g = j / shape.group_channels();
    const float gain = affine.gain(j);
    slope[j] = rstd[g] * affine.weight[j] * gain;
    offset[j] = affine.bias[j] * gain + affine.shift(shape, j) - mean[g] * slope[j];
  }
}

// Means over the groups of what has been summed over positions.
void group_means(const Shape& shape, const float* sums, float* means) {
  for (int64_t g = 0; g < shape.groups; g++) {
    double sum = 0;
    for (int64_t k = 0; k < shape.group_channels(); k++) sum += sums[g * shape.group_channels() + k];
    means[g] = static_cast<float>(sum / shape.group_size());
  }
}

// One image. `mean` and `rstd` are for its groups, and kept for the way back.
template <typename T>
TORCH_EXT_INLINE void forward(const Shape& shape, const Affine& affine, float eps, const T* x, T* y, float* mean, float* rstd, std::vector<float>& scratch) {
  const int64_t c = shape.channels;
  scratch.assign(2 * c, 0.0f);
  float *first = scratch.data(), *second = first + c;
  for (int64_t p = 0; p < shape.positions; p++)
    for_lanes(c, [&](int64_t j, auto count) TORCH_EXT_VECTORISED { store(first + j, load(first + j, count) + load(x + p * c + j, count), count); });
  group_means(shape, first, mean);
  for (int64_t j = 0; j < c; j++) first[j] = mean[j / shape.group_channels()];
  for (int64_t p = 0; p < shape.positions; p++)
    for_lanes(c, [&](int64_t j, auto count) TORCH_EXT_VECTORISED {
      const Floats d = load(x + p * c + j, count) - load(first + j, count);
      store(second + j, load(second + j, count) + d * d, count);
    });
  group_means(shape, second, rstd);
  for (int64_t g = 0; g < shape.groups; g++) rstd[g] = 1.0f / std::sqrt(rstd[g] + eps);
  float *slope = first, *offset = second;
  channel_maps(shape, affine, mean, rstd, slope, offset);
  for (int64_t p = 0; p < shape.positions; p++)
    for_lanes(c, [&](int64_t j, auto count) TORCH_EXT_VECTORISED {
      const Floats z = load(slope + j, count) * load(x + p * c + j, count) + load(offset + j, count);
      store(y + p * c + j, z * sigmoid(z), count);
    });
}

// One image's gradients: of `x`, and its parts of those of weight, bias and film (null if there is none).
template <typename T>
TORCH_EXT_INLINE void backward(const Shape& shape, const Affine& affine, const T* x, const T* dy, const float* mean, const float* rstd, T* dx, float* dweight, float* dbias, float* dfilm,
                               std::vector<float>& scratch) {
  const int64_t c = shape.channels, n = shape.positions * c;
  scratch.resize(4 * c + n);
  float *slope = scratch.data(), *offset = slope + c, *sum = offset + c, *product = sum + c, *dz = product + c;
  std::fill(sum, dz, 0.0f);
  channel_maps(shape, affine, mean, rstd, slope, offset);
  for (int64_t p = 0; p < shape.positions; p++)
    for_lanes(c, [&](int64_t j, auto count) TORCH_EXT_VECTORISED {
      const Floats v = load(x + p * c + j, count), z = load(slope + j, count) * v + load(offset + j, count), s = sigmoid(z);
      const Floats d = load(dy + p * c + j, count) * s * (1.0f + z * (1.0f - s));
      store(dz + p * c + j, d, count);
      store(sum + j, load(sum + j, count) + d, count);
      store(product + j, load(product + j, count) + d * v, count);
    });
  // From here on `product` is the sum over positions of dz times the normalised features.
  std::vector<float> level(shape.groups), tilt(shape.groups);
  for (int64_t g = 0; g < shape.groups; g++) {
    double of_ones = 0, of_features = 0;
    for (int64_t j = g * shape.group_channels(); j < (g + 1) * shape.group_channels(); j++) {
      product[j] = rstd[g] * (product[j] - mean[g] * sum[j]);
      const float gain = affine.gain(j);
      of_ones += gain * affine.weight[j] * sum[j];
      of_features += gain * affine.weight[j] * product[j];
      dweight[j] = gain * product[j];
      dbias[j] = gain * sum[j];
      if (dfilm) {
        dfilm[j] = affine.weight[j] * product[j] + affine.bias[j] * sum[j];
        dfilm[c + j] = sum[j];
      }
    }
    // The means of the gradient over a group, and of its product with the normalised features, have no effect through them.
    tilt[g] = -rstd[g] * rstd[g] * static_cast<float>(of_features / shape.group_size());
    level[g] = -rstd[g] * static_cast<float>(of_ones / shape.group_size()) - mean[g] * tilt[g];
  }
  float *levels = offset, *tilts = sum;
  for (int64_t j = 0; j < c; j++) {
    levels[j] = level[j / shape.group_channels()];
    tilts[j] = tilt[j / shape.group_channels()];
  }
  for (int64_t p = 0; p < shape.positions; p++)
    for_lanes(c, [&](int64_t j, auto count) TORCH_EXT_VECTORISED {
      const Floats through_features = load(tilts + j, count) * load(x + p * c + j, count) + load(levels + j, count);
      store(dx + p * c + j, load(slope + j, count) * load(dz + p * c + j, count) + through_features, count);
    });
}

Affine affine_of(const Tensor& weight, const Tensor& bias, const Tensor& film, int64_t image) {
  return {weight.const_data_ptr<float>(), bias.const_data_ptr<float>(), film.defined() ? film.const_data_ptr<float>() + image * film.size(1) : nullptr};
}

struct NormSilu : torch::autograd::Function<NormSilu> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& features, const Tensor& weights, const Tensor& biases, const std::optional<Tensor>& films, int64_t groups, double eps) {
    RECORD_FUNCTION("torch_ext::norm_silu", c10::ArrayRef<const c10::IValue>{});
    const Tensor x = channels_last(features), weight = plain_floats(weights), bias = plain_floats(biases), film = films ? plain_floats(*films) : Tensor();
    const Shape shape{x.size(0), x.size(2) * x.size(3), x.size(1), groups};
    const Tensor y = at::empty_like(x), mean = at::empty({x.size(0), groups}, x.options().dtype(at::kFloat)), rstd = at::empty_like(mean);
    for_kind(x.scalar_type(), [&](auto kind) {
      using T = decltype(kind);
      const T* from = x.const_data_ptr<T>();
      T* to = y.mutable_data_ptr<T>();
      float *means = mean.mutable_data_ptr<float>(), *rstds = rstd.mutable_data_ptr<float>();
      for_each(shape.images, 1, [&](int64_t i, std::vector<float>& scratch) TORCH_EXT_VECTORISED {
        const int64_t at = i * shape.positions * shape.channels;
        ::forward(shape, affine_of(weight, bias, film, i), static_cast<float>(eps), from + at, to + at, means + i * groups, rstds + i * groups, scratch);
      });
    });
    context->save_for_backward({x, weight, bias, film, mean, rstd});
    context->saved_data["groups"] = groups;
    context->saved_data["film_kind"] = films ? static_cast<int64_t>(films->scalar_type()) : int64_t{-1};
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    RECORD_FUNCTION("torch_ext::norm_silu_backward", c10::ArrayRef<const c10::IValue>{});
    TORCH_CHECK(!at::GradMode::is_enabled(), "norm_silu cannot be differentiated twice on the CPU");
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &film = saved[3], &mean = saved[4], &rstd = saved[5];
    const int64_t groups = context->saved_data["groups"].toInt(), film_kind = context->saved_data["film_kind"].toInt();
    const Shape shape{x.size(0), x.size(2) * x.size(3), x.size(1), groups};
    const Tensor dy = channels_last(gradients[0].to(x.scalar_type()));
    const Tensor dx = at::empty_like(x), dweight = at::empty({shape.images, shape.channels}, mean.options()), dbias = at::empty_like(dweight);
    const Tensor dfilm = film.defined() ? at::empty_like(film) : Tensor();
    for_kind(x.scalar_type(), [&](auto kind) {
      using T = decltype(kind);
      const T *from = x.const_data_ptr<T>(), *gradient = dy.const_data_ptr<T>();
      T* to = dx.mutable_data_ptr<T>();
      const float *means = mean.const_data_ptr<float>(), *rstds = rstd.const_data_ptr<float>();
      float *weights = dweight.mutable_data_ptr<float>(), *biases = dbias.mutable_data_ptr<float>(), *films = film.defined() ? dfilm.mutable_data_ptr<float>() : nullptr;
      for_each(shape.images, 1, [&](int64_t i, std::vector<float>& scratch) TORCH_EXT_VECTORISED {
        const int64_t at = i * shape.positions * shape.channels, c = i * shape.channels;
        ::backward(shape, affine_of(weight, bias, film, i), from + at, gradient + at, means + i * groups, rstds + i * groups, to + at, weights + c, biases + c, films ? films + 2 * c : nullptr,
                   scratch);
      });
    });
    const Tensor of_film = film.defined() ? dfilm.to(static_cast<at::ScalarType>(film_kind)) : Tensor();
    return {dx, dweight.sum(0), dbias.sum(0), of_film, Tensor(), Tensor()};
  }
};

Tensor norm_silu(const Tensor& x, int64_t groups, const Tensor& weight, const Tensor& bias, const std::optional<Tensor>& film, double eps) {
  TORCH_CHECK(x.dim() == 4 && groups > 0 && x.size(1) % groups == 0, "norm_silu takes features [n, c, h, w] whose channels ", groups, " groups divide, not ", x.sizes());
  TORCH_CHECK(weight.numel() == x.size(1) && bias.numel() == x.size(1), "norm_silu of ", x.size(1), " channels has ", weight.numel(), " weights and ", bias.numel(), " biases");
  TORCH_CHECK(!film || (film->dim() == 2 && film->size(0) == x.size(0) && film->size(1) == 2 * x.size(1)), "norm_silu of ", x.sizes(), " has scales and shifts ", film->sizes());
  for (const Tensor* other : {&weight, &bias, film ? &*film : &bias}) TORCH_CHECK(other->device() == x.device(), "norm_silu of features on ", x.device(), " has parameters on ", other->device());
  if (has_kernels(x) && weight.scalar_type() == at::kFloat) return NormSilu::apply(x, weight, bias, film, groups, eps);
  const Tensor normal = at::group_norm(x, groups, weight, bias, eps);
  if (!film) return at::silu(normal);
  // Scales of low precision are near zero, where it is finer than near one.
  const auto halves = film->to(normal.scalar_type()).unsqueeze(-1).unsqueeze(-1).chunk(2, 1);
  return at::silu(normal * (halves[0] + 1) + halves[1]);
}

}  // namespace

// Weight, bias and `film` may be null: there are none. `y` is a new tensor, the caller's.
extern "C" char* torch_ext_norm_silu(const Tensor* x, int64_t groups, const Tensor* weight, const Tensor* bias, const Tensor* film, double eps, Tensor** y) {
  return torch_ext::catching([&] {
    TORCH_CHECK(weight && bias, "norm_silu takes a layer with weights and biases");
    *y = new Tensor(norm_silu(*x, groups, *weight, *bias, film ? std::optional(*film) : std::nullopt, eps));
  });
}
