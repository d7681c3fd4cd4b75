// The log-probability of levels under a mixture of discretized logistics (Salimans et al. 2017, section 2), in one pass each way.
//
// Sixteen pixels are computed at a time, one a lane.
#include "catch.h"
#include "kernels.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>

namespace {

using at::Tensor;
using namespace torch_ext;

constexpr int64_t MAX_CHANNELS = 4;
// Blocks of sixteen pixels that are worth a thread.
constexpr int64_t GRAIN = 4;
// Half of what lies between two levels.
constexpr float HALF_LEVEL = 1.0f / 255;

// Where a pixel's parameters are: logits, means, log-scales, couplings, each component by component.
struct Layout {
  int64_t components, channels;

  int64_t couplings() const { return channels * (channels - 1) / 2; }
  int64_t parameters() const { return components * (1 + 2 * channels + couplings()); }
  int64_t mean(int64_t k, int64_t c) const { return components + k * channels + c; }
  int64_t log_scale(int64_t k, int64_t c) const { return mean(components + k, c); }
  // Of channel `c` on an earlier one.
  int64_t coupling(int64_t k, int64_t c, int64_t earlier) const { return mean(2 * components, 0) + k * couplings() + c * (c - 1) / 2 + earlier; }
};

struct Range {
  float low, high;
};

// Numbers of sixteen pixels: `rows[j]` is the j-th of each.
struct Rows {
  float* numbers;

  TORCH_EXT_INLINE Floats operator[](int64_t j) const { return load(numbers + j * LANES, Whole{}); }
  TORCH_EXT_INLINE void set(int64_t j, Floats value) const { store(numbers + j * LANES, value, Whole{}); }
};

// Sixteen pixels: their parameters, their levels, and these as values in [-1, 1].
struct Pixels {
  Rows params;
  Floats level[MAX_CHANNELS], value[MAX_CHANNELS];
  // Zero, or not a number where a parameter is none.
  Floats poison;
};

// From `count` pixels one after the other to pixels side by side, or back.
TORCH_EXT_INLINE void spread_out(const float* from, int64_t parameters, int64_t count, Rows to) {
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < parameters; j++) to.numbers[j * LANES + i] = from[i * parameters + j];
}

TORCH_EXT_INLINE void collect(Rows from, int64_t parameters, int64_t count, float* to) {
  for (int64_t i = 0; i < count; i++)
    for (int64_t j = 0; j < parameters; j++) to[i * parameters + j] = from.numbers[j * LANES + i];
}

TORCH_EXT_INLINE void read_pixels(const Layout& layout, const float* params, const int64_t* levels, int64_t step, int64_t count, Pixels& pixels) {
  spread_out(params, layout.parameters(), count, pixels.params);
  for (int64_t c = 0; c < layout.channels; c++) {
    for (int64_t i = 0; i < count; i++) pixels.level[c][i] = static_cast<float>(levels[c * step + i]);
    pixels.value[c] = pixels.level[c] / 127.5f - 1.0f;
  }
  pixels.poison = Floats{};
  for (int64_t j = 0; j < layout.parameters(); j++) pixels.poison += not_a_number(pixels.params[j]).pick(pixels.params[j], Floats{});
}

// Levels are whole numbers.
TORCH_EXT_INLINE Mask is_first(Floats level) { return less(level, all(0.5f)); }
TORCH_EXT_INLINE Mask is_last(Floats level) { return less(all(254.5f), level); }

// A channel of a component, in units of its scale: how far the level is from the mean, and half a level.
struct Bin {
  Floats inverse_scale, centre, half;
};

TORCH_EXT_INLINE Floats tanh_of(Floats x) { return 2.0f * sigmoid(2.0f * x) - 1.0f; }

TORCH_EXT_INLINE Bin bin_of(const Layout& layout, Range range, const Pixels& pixels, int64_t k, int64_t c) {
  Floats mean = pixels.params[layout.mean(k, c)], log_scale = pixels.params[layout.log_scale(k, c)];
  for (int64_t earlier = 0; earlier < c; earlier++) mean += tanh_of(pixels.params[layout.coupling(k, c, earlier)]) * pixels.value[earlier];
  log_scale = smaller(larger(log_scale, all(range.low)), all(range.high));
  const Floats inverse_scale = exponential(-log_scale);
  return {inverse_scale, (pixels.value[c] - mean) * inverse_scale, HALF_LEVEL * inverse_scale};
}

TORCH_EXT_INLINE Floats log_sigmoid(Floats x) { return smaller(x, Floats{}) - logarithm(1.0f + exponential(smaller(x, -x))); }

// With a and b the upper and the lower edge, s(a) - s(b) = s(a) s(-b) (1 - e^(b - a)): no cancellation anywhere. The first level has all
// that is below it too, the last all that is above.
TORCH_EXT_INLINE Floats log_mass(const Bin& bin, Floats level) {
  const Floats below_upper = log_sigmoid(bin.centre + bin.half), above_lower = log_sigmoid(bin.half - bin.centre);
  const Floats width = logarithm(one_less_exponential(2.0f * bin.half));
  return is_first(level).pick(below_upper, is_last(level).pick(above_lower, below_upper + above_lower + width));
}

TORCH_EXT_INLINE Floats largest_logit(const Layout& layout, const Pixels& pixels) {
  Floats top = pixels.params[0];
  for (int64_t k = 1; k < layout.components; k++) top = larger(pixels.params[k], top);
  return top;
}

// Returns the log-probability; `posterior` is each component's share in it.
TORCH_EXT_INLINE Floats forward(const Layout& layout, Range range, const Pixels& pixels, Rows posterior) {
  const Floats top_logit = largest_logit(layout, pixels);
  Floats top{}, sum{}, logit_sum{};
  for (int64_t k = 0; k < layout.components; k++) {
    Floats joint = pixels.params[k] - top_logit;
    logit_sum += exponential(joint);
    for (int64_t c = 0; c < layout.channels; c++) joint += log_mass(bin_of(layout, range, pixels, k, c), pixels.level[c]);
    posterior.set(k, joint);
    top = k == 0 ? joint : larger(joint, top);
  }
  for (int64_t k = 0; k < layout.components; k++) {
    const Floats share = exponential(posterior[k] - top);
    posterior.set(k, share);
    sum += share;
  }
  for (int64_t k = 0; k < layout.components; k++) posterior.set(k, posterior[k] / sum);
  return top + (logarithm(sum) - logarithm(logit_sum)) + pixels.poison;
}

// `slope` times the gradient of what `forward` returned.
TORCH_EXT_INLINE void backward(const Layout& layout, Range range, const Pixels& pixels, Rows posterior, Floats slope, Rows gradient) {
  const Floats top_logit = largest_logit(layout, pixels);
  Floats logit_sum{};
  for (int64_t k = 0; k < layout.components; k++) {
    const Floats share = exponential(pixels.params[k] - top_logit);
    gradient.set(k, share);
    logit_sum += share;
  }
  for (int64_t k = 0; k < layout.components; k++) {
    const Floats share = slope * posterior[k];
    gradient.set(k, share - slope * gradient[k] / logit_sum);
    for (int64_t c = 0; c < layout.channels; c++) {
      const Bin bin = bin_of(layout, range, pixels, k, c);
      const Floats level = pixels.level[c], log_scale = pixels.params[layout.log_scale(k, c)];
      // Of the logarithms of the three factors of the mass.
      const Mask first = is_first(level), last = is_last(level);
      const Floats upper = last.pick(Floats{}, sigmoid(-bin.centre - bin.half));
      const Floats lower = first.pick(Floats{}, sigmoid(bin.centre - bin.half));
      const Floats inside = one_less_exponential(2.0f * bin.half), of_width = 2.0f * (1.0f - inside) / inside;
      const Floats width = first.pick(Floats{}, last.pick(Floats{}, of_width));
      const Floats of_mean = share * bin.inverse_scale * (lower - upper);
      const Floats of_log_scale = share * (bin.centre * (lower - upper) - bin.half * (lower + upper + width));
      gradient.set(layout.mean(k, c), of_mean);
      const Mask too_low = less(log_scale, all(range.low)), too_high = less(all(range.high), log_scale);
      gradient.set(layout.log_scale(k, c), too_low.pick(Floats{}, too_high.pick(Floats{}, of_log_scale)));
      for (int64_t earlier = 0; earlier < c; earlier++) {
        const Floats coupling = tanh_of(pixels.params[layout.coupling(k, c, earlier)]);
        gradient.set(layout.coupling(k, c, earlier), of_mean * pixels.value[earlier] * (1.0f - coupling * coupling));
      }
    }
  }
}

// Calls `body(block, first pixel among all, its levels, how many, pixels, results)` for sixteen pixels of an image at a time.
template <typename Body>
void for_blocks(const Layout& layout, const Tensor& levels, const Body& body) {
  const int64_t positions = levels.size(2) * levels.size(3), blocks = (positions + LANES - 1) / LANES;
  const int64_t* level = levels.const_data_ptr<int64_t>();
  for_each(levels.size(0) * blocks, GRAIN, [&](int64_t block, std::vector<float>& scratch) TORCH_EXT_VECTORISED {
    scratch.resize(2 * layout.parameters() * LANES);
    Pixels pixels{Rows{scratch.data()}};
    const int64_t image = block / blocks, first = block % blocks * LANES;
    body(block, image * positions + first, level + image * layout.channels * positions + first, std::min(LANES, positions - first), pixels, Rows{scratch.data() + layout.parameters() * LANES});
  });
}

struct LogisticMixture : torch::autograd::Function<LogisticMixture> {
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& given, const Tensor& given_levels, int64_t components, double low, double high) {
    RECORD_FUNCTION("torch_ext::logistic_mixture", c10::ArrayRef<const c10::IValue>{});
    const Tensor params = channels_last(given), levels = given_levels.contiguous();
    const Layout layout{components, levels.size(1)};
    const Range range{static_cast<float>(low), static_cast<float>(high)};
    const int64_t positions = levels.size(2) * levels.size(3), blocks = levels.size(0) * ((positions + LANES - 1) / LANES);
    const Tensor log_probs = at::empty({levels.size(0), levels.size(2), levels.size(3)}, params.options()), posteriors = at::empty({blocks, components, LANES}, params.options());
    const float* from = params.const_data_ptr<float>();
    float *to = log_probs.mutable_data_ptr<float>(), *kept = posteriors.mutable_data_ptr<float>();
    for_blocks(layout, levels, [&](int64_t block, int64_t pixel, const int64_t* level, int64_t count, Pixels& pixels, Rows) TORCH_EXT_VECTORISED {
      read_pixels(layout, from + pixel * layout.parameters(), level, positions, count, pixels);
      store(to + pixel, ::forward(layout, range, pixels, Rows{kept + block * components * LANES}), count);
    });
    context->save_for_backward({params, levels, posteriors});
    context->saved_data["range"] = std::vector<double>{low, high};
    return log_probs;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    RECORD_FUNCTION("torch_ext::logistic_mixture_backward", c10::ArrayRef<const c10::IValue>{});
    TORCH_CHECK(!at::GradMode::is_enabled(), "logistic_mixture cannot be differentiated twice");
    const auto saved = context->get_saved_variables();
    const Tensor &params = saved[0], &levels = saved[1], &posteriors = saved[2], slopes = gradients[0].contiguous(), gradient = at::empty_like(params);
    const auto ends = context->saved_data["range"].toDoubleVector();
    const int64_t components = posteriors.size(1), positions = levels.size(2) * levels.size(3);
    const Layout layout{components, levels.size(1)};
    const Range range{static_cast<float>(ends[0]), static_cast<float>(ends[1])};
    const float *from = params.const_data_ptr<float>(), *slope = slopes.const_data_ptr<float>();
    float *to = gradient.mutable_data_ptr<float>(), *kept = posteriors.data_ptr<float>();
    for_blocks(layout, levels, [&](int64_t block, int64_t pixel, const int64_t* level, int64_t count, Pixels& pixels, Rows results) TORCH_EXT_VECTORISED {
      read_pixels(layout, from + pixel * layout.parameters(), level, positions, count, pixels);
      ::backward(layout, range, pixels, Rows{kept + block * components * LANES}, load(slope + pixel, count) + pixels.poison, results);
      collect(results, layout.parameters(), count, to + pixel * layout.parameters());
    });
    return {gradient, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

Tensor logistic_mixture(const Tensor& params, const Tensor& levels, int64_t components, double low, double high) {
  TORCH_CHECK(params.dim() == 4 && levels.dim() == 4 && params.size(0) == levels.size(0) && params.size(2) == levels.size(2) && params.size(3) == levels.size(3),
              "logistic_mixture takes parameters [n, p, h, w] and levels [n, c, h, w], not ", params.sizes(), " and ", levels.sizes());
  TORCH_CHECK(1 <= levels.size(1) && levels.size(1) <= MAX_CHANNELS, "logistic_mixture knows 1 to ", MAX_CHANNELS, " channels, not ", levels.size(1));
  const int64_t parameters = Layout{components, levels.size(1)}.parameters();
  TORCH_CHECK(components > 0 && params.size(1) == parameters, components, " components have ", parameters, " parameters, not ", params.size(1));
  TORCH_CHECK(params.is_cpu() && params.scalar_type() == at::kFloat && levels.is_cpu() && levels.scalar_type() == at::kLong, "logistic_mixture takes f32 and i64 on the CPU");
  return LogisticMixture::apply(params, levels, components, low, high);
}

}  // namespace

// `log_probs` is a new tensor, the caller's.
extern "C" char* torch_ext_logistic_mixture(const Tensor* params, const Tensor* levels, int64_t components, double low, double high, Tensor** log_probs) {
  return torch_ext::catching([&] { *log_probs = new Tensor(logistic_mixture(*params, *levels, components, low, high)); });
}
