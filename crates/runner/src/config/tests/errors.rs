//! The text of every kind of error, letter for letter.

use super::{one, read};
use paragone_core::{DataSpec, ImageShape, OptimizerConfig, Phase};

/// `models` on the third line; what stands there begins on the fourth.
fn with_models(models: &str) -> String {
    format!("name: x\ndata: {{ dataset: shapes }}\nmodels:\n{models}")
}

#[track_caller]
fn fails(text: &str, set: &[&str], want: &str) {
    match read(text, set) {
        Ok(runs) => panic!("read as {runs:?}"),
        Err(error) => assert_eq!(error.to_string(), want),
    }
}

#[track_caller]
fn model_fails(lines: &str, want: &str) {
    let indented: String = lines.lines().map(|line| format!("    {line}\n")).collect();
    fails(&with_models(&format!("  a:\n    family: ladder\n{indented}")), &[], want);
}

#[test]
fn a_misspelt_key() {
    model_fails(
        "beta: 2\nlatent_dmi: 3",
        "x.yaml:7:5: models.a.latent_dmi: unknown key; did you mean `latent_dim`? \
         allowed: `family`, `train`, `latent_dim`, `beta`, `likelihood`, `sampler`",
    );
}

#[test]
fn a_misspelt_section() {
    fails(
        "name: x\ntrian: { batch_size: 3 }\n",
        &[],
        "x.yaml:2:1: trian: unknown key; did you mean `train`? \
         allowed: `name`, `seed`, `data`, `train`, `eval`, `models`, `sweep`",
    );
}

#[test]
fn a_value_of_another_type() {
    model_fails("beta: [1]", "x.yaml:6:5: models.a.beta: expected a number, found a list");
    model_fails(
        "latent_dim: 1.5",
        "x.yaml:6:5: models.a.latent_dim: expected a whole number, found 1.5",
    );
    model_fails(
        "train: { lr: fast }",
        "x.yaml:6:14: models.a.train.lr: expected a number, found text \"fast\"",
    );
    model_fails(
        "train: { betas: [0.9] }",
        "x.yaml:6:14: models.a.train.betas: expected a list of 2 values, found 1 values",
    );
}

#[test]
fn a_value_outside_a_list() {
    model_fails(
        "likelihood: softmax",
        "x.yaml:6:5: models.a.likelihood: `softmax` is not among the allowed values; \
         did you mean `softmax256`? allowed: `softmax256`, `logistic-mixture`",
    );
}

#[test]
fn inside_a_tagged_enum() {
    model_fails(
        "sampler:\n  name: huen\n  steps: 3",
        "x.yaml:7:7: models.a.sampler.name: `huen` is not among the allowed values; \
         did you mean `heun`? allowed: `ancestral`, `heun`",
    );
    model_fails(
        "sampler: { name: heun, steps: 3, foo: 1 }",
        "x.yaml:6:38: models.a.sampler.foo: unknown key; allowed: `steps`",
    );
    model_fails("sampler: { name: heun }", "x.yaml:6:5: models.a.sampler: `steps` is missing");
    model_fails(
        "sampler: { name: heun, steps: ten }",
        "x.yaml:6:28: models.a.sampler.steps: expected a whole number, 0 or more, found text \"ten\"",
    );
}

#[test]
fn a_key_given_twice() {
    model_fails("beta: 1\nbeta: 2", "x.yaml:7:5: models.a.beta: given twice, first at 6:5");
    fails(
        &with_models("  a: { family: pair }\n  b: { family: pair }\n  a: { family: ladder }\n"),
        &[],
        "x.yaml:6:3: models.a: given twice, first at 4:3",
    );
}

#[test]
fn no_yaml() {
    fails(
        "name: x\nmodels: [1, 2\nseed: 0\n",
        &[],
        "x.yaml:3:5: not valid YAML: illegal placement of ':' indicator",
    );
    fails(
        "",
        &[],
        "x.yaml:1:1: expected an experiment: a mapping with `name`, `data` and `models`, found nothing",
    );
}

#[test]
fn sections_that_are_missing() {
    fails("seed: 1\n", &[], "x.yaml:1:1: `name` is missing");
    fails("name: x\n", &[], "x.yaml:1:1: `data` is missing");
    fails("name: x\ndata:\n", &[], "x.yaml:2:1: data: `dataset` is missing");
    fails("name: x\ndata: { dataset: shapes }\n", &[], "x.yaml:1:1: `models` is missing");
    fails(
        &with_models("  {}\n"),
        &[],
        "x.yaml:3:1: models: has no model; add one, such as `vae: { family: vae }`",
    );
    fails(&with_models("  vae:\n"), &[], "x.yaml:4:3: models.vae: `family` is missing");
}

#[test]
fn a_family_that_is_none() {
    fails(
        &with_models("  a: { family: lader }\n"),
        &[],
        "x.yaml:4:8: models.a.family: `lader` is not among the allowed values; \
         did you mean `ladder`? allowed: `ladder`, `pair`",
    );
    fails(
        &with_models("  a: { family: transformer }\n"),
        &[],
        "x.yaml:4:8: models.a.family: `transformer` is not among the allowed values; \
         allowed: `ladder`, `pair`",
    );
}

#[test]
fn a_dataset_that_is_none() {
    let text = "name: x\ndata: { dataset: fashion_mnist }\n";
    let error = read(text, &[]).unwrap_err().to_string();
    let want = "x.yaml:2:9: data.dataset: `fashion_mnist` is not among the allowed values; \
                did you mean `fashion-mnist`? allowed: ";
    assert!(error.starts_with(want), "{error}");
}

#[test]
fn names_that_make_no_folder() {
    fails(
        &with_models("  a/b: { family: pair }\n"),
        &[],
        "x.yaml:4:3: models.a/b: is `a/b`, but a name is made of letters, digits and `._+=,-`, \
         and starts with a letter or digit",
    );
    fails(
        &with_models("  comparison: { family: pair }\n"),
        &[],
        "x.yaml:4:3: models.comparison: is `comparison`, but this name is taken by a run's own files",
    );
    fails(
        &with_models("  a: { family: pair }\n  A: { family: pair }\n"),
        &[],
        "x.yaml:5:3: models.A: differs from the model `a` only in case",
    );
}

#[test]
fn numbers_that_break_a_rule() {
    fails(
        "name: x\ndata: { dataset: shapes }\ntrain:\n  batch_size: 0\n",
        &[],
        "x.yaml:4:3: train.batch_size: is 0, but must be at least 1",
    );
    fails(
        "name: x\ndata: { dataset: shapes }\ntrain: { budget: { seconds: -3 } }\n",
        &[],
        "x.yaml:3:20: train.budget.seconds: is -3.0, but must be above 0",
    );
    fails(
        "name: x\ndata: { dataset: shapes }\ntrain: { batch_size: 64, accumulate: 3 }\n",
        &[],
        "x.yaml:3:26: train.accumulate: is 3, but must divide the batch size, 64",
    );
    fails(
        "name: x\ndata:\n  dataset: shapes\n  drop_condition: 2\n",
        &[],
        "x.yaml:4:3: data.drop_condition: is 2, but must be between 0 and 1",
    );
    fails(
        "name: x\ndata: { dataset: shapes }\neval: { seeds: [1, 1] }\n",
        &[],
        "x.yaml:3:9: eval.seeds: is [1, 1], but must have at least one entry, and none twice",
    );
    model_fails(
        "train:\n  phases:\n    encoder: { betas: [0.9, 1.0] }",
        "x.yaml:8:33: models.a.train.phases.encoder.betas.1: is 1.0, but must be at least 0 and below 1",
    );
}

#[test]
fn a_budget_of_two_kinds() {
    fails(
        "name: x\ndata: { dataset: shapes }\ntrain:\n  budget: { images: 3, seconds: 4 }\n",
        &[],
        "x.yaml:4:3: train.budget: needs exactly one of `images`, `seconds`, `flops`",
    );
}

#[test]
fn features_that_are_none() {
    let eval_fails = |eval: &str, want: &str| {
        let text = format!(
            "name: x\ndata: {{ dataset: shapes }}\neval:\n  features: {eval}\nmodels:\n  a: {{ family: ladder }}\n"
        );
        fails(&text, &[], want);
    };
    eval_fails(
        "clasifier",
        "x.yaml:4:3: eval.features: `clasifier` is not among the allowed values; did you mean \
         `classifier`? allowed: `auto`, `classifier`, `random-conv`",
    );
    eval_fails("inception", "x.yaml:4:3: eval.features: needs its weights: `{ inception: FILE }`");
    eval_fails(
        "{ inceptoin: a.pth }",
        "x.yaml:4:15: eval.features.inceptoin: unknown key; did you mean `inception`? allowed: \
         `inception`, `torchscript`",
    );
    eval_fails(
        "{ inception: [a.pth] }",
        "x.yaml:4:15: eval.features.inception: expected text, found a list",
    );
    eval_fails(
        "3",
        "x.yaml:4:3: eval.features: expected the name of a network, or a mapping that names a file of \
         one, found 3",
    );
    eval_fails("{}", "x.yaml:4:3: eval.features: needs exactly one of `inception`, `torchscript`");
    let module = |rest: &str| format!("{{ torchscript: {{ path: a.pt, {rest} }} }}");
    eval_fails(
        &module("size: 224, mean: [0, 0, 0]"),
        "x.yaml:4:15: eval.features.torchscript: `std` is missing",
    );
    eval_fails(
        &module("size: big, mean: [0, 0, 0], std: [1, 1, 1]"),
        "x.yaml:4:42: eval.features.torchscript.size: expected a whole number, 0 or more, found text \"big\"",
    );
    eval_fails(
        &module("size: 8, mean: [0, 0, 0], std: [1, 1, 0]"),
        "x.yaml:4:80: eval.features.torchscript.std.2: is 0.0, but must be above 0",
    );
}

#[test]
fn values_from_the_command_line() {
    let text = with_models("  a: { family: ladder }\n");
    fails(
        &text,
        &["models.a.beat=2"],
        "--set models.a.beat=2: models.a.beat: unknown key; did you mean `beta`? \
         allowed: `family`, `train`, `latent_dim`, `beta`, `likelihood`, `sampler`",
    );
    fails(
        &text,
        &["trian.batch_size=3"],
        "--set trian.batch_size=3: trian: unknown key; did you mean `train`? \
         allowed: `name`, `seed`, `data`, `train`, `eval`, `models`, `sweep`",
    );
    fails(
        &text,
        &["models.b.beta=2"],
        "--set models.b.beta=2: models.b.beta: there is no model `b`; did you mean `a`? allowed: `a`",
    );
    fails(
        &text,
        &["train.batch_size=none"],
        "--set train.batch_size=none: train.batch_size: expected a whole number, 0 or more, \
         found text \"none\"",
    );
    fails(&text, &["train"], "--set train: expected `key=value`, such as `train.batch_size=64`");
    fails(
        &text,
        &["data.dataset.name=x"],
        "--set data.dataset.name=x: data.dataset: expected a mapping, found text \"shapes\"",
    );
}

#[test]
fn values_from_a_sweep() {
    let models = "  a: { family: ladder }\n";
    fails(
        &with_models(&format!("{models}sweep:\n  models.a.latent_dim: [8, many]\n")),
        &[],
        "x.yaml:6:28: models.a-latent_dim=many.latent_dim: expected a whole number, found text \"many\"",
    );
    fails(
        &with_models(&format!("{models}sweep:\n  models.b.latent_dim: [8]\n")),
        &[],
        "x.yaml:6:3: sweep.models.b.latent_dim: there is no model `b`; did you mean `a`? allowed: `a`",
    );
    fails(
        &with_models(&format!("{models}sweep:\n  seed: 3\n")),
        &[],
        "x.yaml:6:3: sweep.seed: expected a list of values to try, found 3",
    );
    fails(
        &with_models(&format!("{models}sweep:\n  seed: [3, 3]\n")),
        &[],
        "x.yaml:5:1: sweep: makes two of the name `seed=3`; its values must differ",
    );
}

#[test]
fn what_only_the_family_knows() {
    let text = with_models("  a:\n    family: ladder\n    sampler: { name: heun, steps: 0 }\n");
    let data = DataSpec {
        shape: ImageShape { channels: 1, height: 2, width: 2 },
        num_classes: 0,
        text: None,
        known_pixels: false,
        mean: 0.0,
        std: 1.0,
    };
    let error = one(&text, &[]).check_data(&data).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x.yaml:6:28: models.a.sampler.steps: is 0, but must be at least 1"
    );
}

#[test]
fn a_phase_that_is_none() {
    let text = with_models("  a: { family: pair, train: { phases: { generater: { lr: 1 } } } }\n");
    let experiment = one(&text, &[]);
    let optimizer = OptimizerConfig::default();
    let phase = |name| Phase { name, parameters: &["net"], every: 1, optimizer };
    let phases = [phase("discriminator"), phase("generator")];
    let error = experiment.check_phases(&experiment.models[0], &phases).unwrap_err();
    assert_eq!(
        error.to_string(),
        "x.yaml:4:41: models.a.train.phases.generater: unknown key; did you mean `generator`? \
         allowed: `discriminator`, `generator`"
    );
}
