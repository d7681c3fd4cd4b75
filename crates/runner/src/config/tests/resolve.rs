//! What a right file means.

use super::{FAMILIES, one, read};
use crate::config::{
    Budget, Change, Difference, Features, Interval, Precision, TorchScript, schema::schema_with,
};
use paragone_core::{OptimizerConfig, Phase};
use tch::Device;

const TEXT: &str = "
name: both
seed: 7
data: { dataset: shapes }
train: { batch_size: 64, budget: { seconds: 600 }, precision: bf16 }
models:
  big: &big { family: ladder, latent_dim: 128, beta: 0.5 }
  small: { <<: *big, latent_dim: 8 }
  pair:
    family: pair
    gamma: 0.1
    train: { lr: 1e-4, clip: null, phases: { generator: { lr: 5e-5, betas: [0, 0.9] } } }
";

#[test]
fn resolved_experiments_read_as_themselves() {
    let experiment = one(TEXT, &["train.checkpoint_every.share=0.5"]);
    let yaml = experiment.to_yaml();
    let again = one(&yaml, &[]);
    assert_eq!(again.to_yaml(), yaml);
    assert!(again.difference(&experiment).is_none());
    for line in
        ["    latent_dim: 8\n", "    gamma: 0.1\n", "  half_life: 0.03\n", "      clip: null\n"]
    {
        assert!(yaml.contains(line), "{line:?} is not in\n{yaml}");
    }
    let names: Vec<&str> = again.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["big", "small", "pair"]);
}

#[test]
fn set_values_are_yaml() {
    let set =
        ["train.budget.images=1000", "models.pair.train.lr=1e-5", "eval.seeds=[1, 2]", "seed=3"];
    let experiment = one(TEXT, &set);
    assert_eq!(experiment.train.budget, Budget::Images(1000));
    assert_eq!(experiment.train.batch_size, 64);
    assert_eq!(experiment.model("pair").unwrap().train.lr, Some(1e-5));
    assert_eq!(experiment.eval.seeds, [1, 2]);
    assert_eq!(experiment.seed, 3);
    assert_eq!(
        one(TEXT, &["train.checkpoint_every={ seconds: 5 }"]).train.checkpoint_every,
        Interval::Seconds(5.0)
    );
    assert_eq!(one(TEXT, &["models.new={ family: pair }"]).models.len(), 4);
}

/// A name may have dots, and what stands before one of them be another name.
#[test]
fn a_model_is_set_by_its_whole_name() {
    let text = format!("{TEXT}  p-0: {{ family: pair }}\n  p-0.5: {{ family: pair }}\n");
    let experiment = one(&text, &["models.p-0.5.train.lr=1e-5", "models.p-0.train.lr=1e-4"]);
    let lr = |name: &str| experiment.model(name).unwrap().train.lr;
    assert_eq!((lr("p-0"), lr("p-0.5")), (Some(1e-4), Some(1e-5)));
    let swept = read(&format!("{text}sweep: {{ models.p-0.5.train.lr: [1.0, 2.0] }}\n"), &[]);
    assert_eq!(swept.unwrap()[0].experiment.models.len(), experiment.models.len() + 1);
}

#[test]
fn features_come_with_the_program_or_from_a_file() {
    let features = |set: &str| {
        let experiment = one(TEXT, &[set]);
        let again = one(&experiment.to_yaml(), &[]);
        assert_eq!(again.eval, experiment.eval);
        experiment.eval.features
    };
    assert_eq!(features("seed=7"), Features::Auto);
    assert_eq!(features("eval.features=random-conv"), Features::RandomConv);
    let weights = Features::Inception("dir/w.pth".into());
    assert_eq!(features("eval.features={ inception: dir/w.pth }"), weights);
    let module = "{ path: a.pt, size: 224, mean: [0, 0.5, 1], std: [1, 1, 2] }";
    let module = features(&format!("eval.features.torchscript={module}"));
    let (mean, std) = ([0.0, 0.5, 1.0], [1.0, 1.0, 2.0]);
    let want = TorchScript { path: "a.pt".into(), size: 224, mean, std };
    assert_eq!(module, Features::TorchScript(want));
    // A file takes the place of a name, whatever stands there.
    let resolved = one(TEXT, &[]).to_yaml();
    assert_eq!(one(&resolved, &["eval.features.inception=dir/w.pth"]).eval.features, weights);
}

#[test]
fn a_phase_overrides_its_model_and_a_model_its_family() {
    let experiment = one(TEXT, &[]);
    let optimizer = OptimizerConfig { lr: 1.0, weight_decay: 0.3, ..OptimizerConfig::default() };
    let phase = |name| Phase { name, parameters: &["net"], every: 1, optimizer };
    let train = &experiment.model("pair").unwrap().train;
    let want = OptimizerConfig { lr: 1e-4, clip: None, ..optimizer };
    assert_eq!(train.optimizer(&phase("discriminator")), want);
    let want = OptimizerConfig { lr: 5e-5, betas: [0.0, 0.9], ..want };
    assert_eq!(train.optimizer(&phase("generator")), want);
    let small = &experiment.model("small").unwrap().train;
    assert_eq!(small.optimizer(&phase("any")), optimizer);
    assert_eq!(small.over(&experiment.train).precision, Precision::Bf16);
}

#[test]
fn precision_is_what_was_asked_for_or_what_the_device_is_fast_in() {
    let cpu = Device::Cpu;
    for device in [cpu, Device::Cuda(0)] {
        let bf16 = torch_ext::computes_in_bf16(device);
        let fast = if bf16 { Precision::Bf16 } else { Precision::F32 };
        assert_eq!(Precision::default().on(device), fast);
    }
    assert_eq!(Precision::F32.on(Device::Cuda(0)), Precision::F32);
    assert_eq!(Precision::Bf16.on(cpu), Precision::Bf16);
    assert_eq!(Precision::Bf16.on(Device::Cuda(0)), Precision::Bf16);
    assert_eq!(Precision::Tf32.on(Device::Cuda(0)), Precision::Tf32);
    assert_eq!(Precision::Tf32.on(cpu), Precision::F32);
}

#[test]
fn a_swept_model_key_makes_models() {
    let text =
        format!("{TEXT}sweep:\n  models.big.beta: [0.5, 1]\n  models.big.train.lr: [1e-3, 1e-2]\n");
    let experiment = one(&text, &["models.big.latent_dim=16"]);
    let names: Vec<&str> = experiment.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "big-beta=0.5,lr=0.001",
            "big-beta=0.5,lr=0.01",
            "big-beta=1,lr=0.001",
            "big-beta=1,lr=0.01",
            "small",
            "pair"
        ]
    );
    let last = experiment.model("big-beta=1,lr=0.01").unwrap();
    assert_eq!(last.train.lr, Some(0.01));
    assert_eq!(last.model.to_value()["beta"], 1.0);
    assert_eq!(last.model.to_value()["latent_dim"], 16);
    // The set value is no longer swept.
    assert_eq!(one(&text, &["models.big.beta=3"]).models.len(), 4);
}

#[test]
fn a_swept_other_key_makes_runs() {
    let text = format!("{TEXT}sweep: {{ seed: [0, 1], train.budget.images: [5, 6] }}\n");
    let runs = read(&text, &[]).unwrap();
    let folders: Vec<&str> = runs.iter().map(|run| run.folder.as_deref().unwrap()).collect();
    assert_eq!(
        folders,
        ["seed=0,images=5", "seed=0,images=6", "seed=1,images=5", "seed=1,images=6"]
    );
    assert_eq!((runs[2].experiment.seed, runs[2].experiment.train.budget), (1, Budget::Images(5)));
    assert_eq!(runs[2].experiment.locate(&["seed"]).to_string(), "x.yaml:13:20");
}

#[test]
fn differences_say_what_a_run_can_keep() {
    let then = one(TEXT, &[]);
    let with = |set: &[&str]| one(TEXT, set).difference(&then);
    let change = |key: &str, then: &str, now: &str| Change {
        key: key.into(),
        then: then.into(),
        now: now.into(),
    };
    assert!(with(&["train.log_every=3", "name=other"]).is_none());
    assert_eq!(
        with(&["eval.samples=50"]),
        Difference { eval: Some(change("eval.samples", "10000", "50")), ..Difference::default() }
    );
    assert_eq!(
        with(&["models.new={ family: pair }"]),
        Difference { added: vec!["new".into()], ..Difference::default() }
    );
    assert_eq!(
        with(&["models.pair.gamma=2"]).trained,
        Some(change("models.pair.gamma", "0.1", "2.0"))
    );
    assert_eq!(
        with(&["models.big.train.lr=0.5"]).trained,
        Some(change("models.big.train", "absent", "{\"lr\":0.5}"))
    );
    assert_eq!(with(&["seed=8", "eval.samples=5"]).trained, Some(change("seed", "7", "8")));
    assert_eq!(
        with(&["models.big.sampler={ name: heun, steps: 9 }"]),
        Difference {
            eval: Some(change("models.big.sampler.name", "\"ancestral\"", "\"heun\"")),
            ..Difference::default()
        }
    );
    let fewer = one(TEXT, &[]).difference(&one(TEXT, &["models.new={ family: pair }"]));
    assert_eq!(fewer, Difference { removed: vec!["new".into()], ..Difference::default() });
}

#[test]
fn seeds_of_one_model_are_made_of_the_same() {
    let made_of = |set: &[&str]| {
        let experiment = one(TEXT, set);
        experiment.made_of(experiment.model("small").unwrap())
    };
    let same = [
        "seed=8",
        "name=other",
        "train.log_every=3",
        "train.threads=2",
        "eval.samples=50",
        "models.big.beta=3",
        "models.pair.gamma=2",
    ];
    for set in same {
        assert_eq!(made_of(&[set]), made_of(&[]), "{set}");
    }
    let other = [
        "train.precision=f32",
        "train.budget.images=6",
        "data.flip=true",
        "models.small.train.lr=0.5",
        "models.small.sampler={ name: heun, steps: 9 }",
    ];
    for set in other {
        assert_ne!(made_of(&[set]), made_of(&[]), "{set}");
    }
    // What training begins with is a part of it.
    let begun = "models.small.train.from=big";
    assert_ne!(made_of(&[begun, "models.big.beta=3"]), made_of(&[begun]));
}

#[test]
fn the_schema_covers_sections_and_families() {
    let schema = schema_with(FAMILIES);
    let text = serde_json::to_string(&schema).unwrap();
    for reference in text.split("\"$ref\":\"#/").skip(1) {
        let pointer = format!("/{}", reference.split('"').next().unwrap());
        assert!(schema.pointer(&pointer).is_some(), "{pointer} leads nowhere");
    }
    let ladder = &schema["properties"]["models"]["additionalProperties"]["oneOf"][0];
    assert_eq!(ladder["properties"]["family"]["const"], "ladder");
    assert_eq!(ladder["properties"]["latent_dim"]["description"], "Numbers in a latent.");
    assert_eq!(ladder["properties"]["train"]["$ref"], "#/$defs/model_train");
    assert_eq!(ladder["required"][0], "family");
    let budget = &schema["properties"]["train"]["properties"]["budget"];
    let alternatives = budget["oneOf"].as_array().or(budget["anyOf"].as_array()).unwrap();
    assert_eq!(alternatives.len(), 3);
    assert_eq!(alternatives[1]["required"][0], "seconds");
    let features = &schema["properties"]["eval"]["properties"]["features"];
    assert_eq!(features["default"], "auto");
    let alternatives = features["oneOf"].as_array().unwrap();
    let module = alternatives.last().unwrap();
    assert_eq!(module["required"][0], "torchscript");
    let keys = module["properties"]["torchscript"]["properties"].as_object().unwrap();
    assert!(["path", "size", "mean", "std"].iter().all(|key| keys.contains_key(*key)));
}
