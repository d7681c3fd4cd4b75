//! The command line.

use crate::device::DeviceChoice;
use clap::{Args, Parser, Subcommand};
use paragone_data::Scenes;
use std::path::PathBuf;

/// Trains families of image generators on identical data and lays them side by side.
#[derive(Debug, Parser)]
#[command(name = "paragone", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train every model of an experiment, score it, compare; run again to continue
    Run(RunArgs),
    /// Train one model of a run
    Train(TrainArgs),
    /// Score the models of a run again, with other evaluation settings
    Eval(EvalArgs),
    /// Draw images from a trained model
    Sample(SampleArgs),
    /// Fill the hole in a picture
    Inpaint(InpaintArgs),
    /// Change a picture to fit a text or a class
    Edit(EditArgs),
    /// Bring pictures back from their latents
    Reconstruct(ReconstructArgs),
    /// Go from one picture to another through their latents, told what the first shows up to halfway and then what the second does
    Interpolate(InterpolateArgs),
    /// Score anyone's images against a dataset or against other images
    Score(ScoreArgs),
    /// Lay the models of finished runs side by side
    Compare(CompareArgs),
    /// Hold the scores themselves, and models of shapes, against the truth that is known of that data
    Audit(AuditArgs),
    /// Show how a model makes its images: noising and denoising, pixel order, reconstructions, latent walks
    Trajectory(TrajectoryArgs),
    /// See, fetch and show datasets
    Data(DataArgs),
    /// Train the frozen classifier whose features the scores of a dataset are measured in
    Features(FeaturesArgs),
    /// List the families, or all options of one
    Families {
        /// The family whose options to print
        family: Option<String>,
    },
    /// Print the JSON Schema of experiment files
    Schema,
}

/// Where computation happens.
#[derive(Debug, Clone, Copy, Args)]
pub struct DeviceArgs {
    /// Where to compute
    #[arg(long, value_enum, default_value_t)]
    pub device: DeviceChoice,
    /// CPU threads [default: in training the experiment's, else all cores]
    #[arg(long)]
    pub threads: Option<u64>,
}

/// Where datasets are.
#[derive(Debug, Clone, Args)]
pub struct DatasetArgs {
    /// Folder that datasets are fetched into
    #[arg(long, env = "PARAGONE_DATASETS", default_value = "datasets", global = true)]
    pub datasets: PathBuf,
}

/// `paragone run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Experiment file
    pub experiment: PathBuf,
    /// Folder of the run [default: runs/NAME]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Override a value, such as train.budget.images=200000
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Override the experiment's seed
    #[arg(long)]
    pub seed: Option<u64>,
    /// Delete what an earlier run left in the folder and start over
    #[arg(long)]
    pub fresh: bool,
    /// Resolve and validate, print parameter counts and cost, train nothing and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone train`.
#[derive(Debug, Args)]
pub struct TrainArgs {
    /// Folder of the run, made by `paragone run`
    pub run: PathBuf,
    /// Model to train
    #[arg(long)]
    pub model: String,
    /// End when the parent process does
    #[arg(long, hide = true)]
    pub follow_parent: bool,
    /// Report in lines, since other processes report on the same terminal
    #[arg(long, hide = true)]
    pub plain: bool,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone eval`.
#[derive(Debug, Args)]
pub struct EvalArgs {
    /// Folder of the run
    pub run: PathBuf,
    /// Override a value of `eval`, or a sampler's option, such as models.diffusion.sampler.steps=20. The run keeps it: its
    /// experiment.yaml and its models' scores are written anew, and later commands, such as `sample`, go by it
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Where the comparison goes [default: the run's `comparison`]; the scores themselves are written to the run in any case
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// A trained model, and how it is run.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Folder of the model, such as runs/fashion-mnist/diffusion
    pub model: PathBuf,
    /// Override an option of the model that decides no training, such as sampler.steps=50
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// What images are asked to be.
#[derive(Debug, Args)]
pub struct ConditionArgs {
    /// Classes to ask for, by name or number, repeated over the images
    #[arg(long, value_delimiter = ',')]
    pub class: Vec<String>,
    /// What to ask for in words, given once or more, repeated over the images
    #[arg(long, value_name = "TEXT", conflicts_with = "class")]
    pub prompt: Vec<String>,
    /// File of further prompts, one a line
    #[arg(long, value_name = "FILE", conflicts_with = "class")]
    pub prompts: Option<PathBuf>,
}

/// What images are asked to be, and how insistently.
#[derive(Debug, Args)]
pub struct AskArgs {
    /// What.
    #[command(flatten)]
    pub condition: ConditionArgs,
    /// What guidance pushes away from [default: no prompt]; needs a --guidance-scale above 1
    #[arg(long, value_name = "TEXT")]
    pub negative_prompt: Option<String>,
    /// 1: the model itself; above: pushed towards the condition
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub guidance_scale: f64,
    /// 1: the model itself; below: narrower
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    pub temperature: f64,
}

/// `paragone sample`.
#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Number of images
    #[arg(long, short, default_value_t = 16, allow_negative_numbers = true)]
    pub n: usize,
    /// What they are asked to be; without a wish all classes in turn.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Ask for nothing
    #[arg(long, conflicts_with_all = ["class", "prompt", "prompts"])]
    pub unconditional: bool,
    /// Seed of the first image; the others count up
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Images drawn at once
    #[arg(long, default_value_t = 100)]
    pub batch_size: usize,
    /// PNG to write: the images side by side
    #[arg(long, default_value = "samples.png")]
    pub out: PathBuf,
    /// Folder for every image as a file of its own
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// Columns of the grid [default: one a prompt, of more than 8 prompts a line each; else 8]
    #[arg(long)]
    pub columns: Option<usize>,
}

/// `paragone inpaint`.
#[derive(Debug, Args)]
pub struct InpaintArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Picture with a hole to fill: a PNG or JPEG file of any size, or test:N for a test image of the model's data
    #[arg(long, value_name = "FILE|test:N")]
    pub image: String,
    /// White where it is to be made anew: a file, or half, centre, blocks, strokes, object or outpaint
    #[arg(long, value_name = "FILE|KIND")]
    pub mask: String,
    /// What the whole picture is asked to be; without a wish what is known of a test image, or nothing.
    #[command(flatten)]
    pub ask: AskArgs,
    /// Number of completions
    #[arg(long, short, default_value_t = 6, allow_negative_numbers = true)]
    pub n: usize,
    /// Seed of the first completion, and of a random mask; the others count up
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// PNG to write: the picture, its hole, and the completions, as the model sees them
    #[arg(long, default_value = "inpainted.png")]
    pub out: PathBuf,
    /// Folder for every completion in the size of the picture, its known pixels untouched
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone edit`.
#[derive(Debug, Args)]
pub struct EditArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Picture to change: a PNG or JPEG file of any size, or test:N for a test image of the model's data
    #[arg(long, value_name = "FILE|test:N")]
    pub image: String,
    /// What it is to become.
    #[command(flatten)]
    pub ask: AskArgs,
    /// What the picture shows, in words [default: a test image's own caption, else nothing]
    #[arg(long, value_name = "TEXT", conflicts_with = "source_class")]
    pub source_prompt: Option<String>,
    /// What the picture shows, as a class [default: a test image's own]
    #[arg(long, value_name = "CLASS")]
    pub source_class: Option<String>,
    /// White where the picture may change: a file, or half, centre, blocks, strokes, object or outpaint
    /// [default: everywhere]
    #[arg(long, value_name = "FILE|KIND")]
    pub mask: Option<String>,
    /// How much to change, from 0 (nothing) to 1, one column each
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "0.2,0.4,0.6,0.8,1",
        allow_negative_numbers = true
    )]
    pub strength: Vec<f64>,
    /// Seeds, one row each
    #[arg(long, short, default_value_t = 1, allow_negative_numbers = true)]
    pub n: usize,
    /// Seed of the first row; the others count up
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// PNG to write: the picture and what became of it, as the model sees them
    #[arg(long, default_value = "edited.png")]
    pub out: PathBuf,
    /// Folder for every result in the size of the picture
    #[arg(long)]
    pub images: Option<PathBuf>,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone reconstruct`.
#[derive(Debug, Args)]
pub struct ReconstructArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Pictures: PNG or JPEG files of any size, or test:N for test images of the model's data [default: its first 8]
    #[arg(long, value_name = "FILE|test:N")]
    pub image: Vec<String>,
    /// What they show; without a word what is known of test images, or nothing.
    #[command(flatten)]
    pub condition: ConditionArgs,
    /// PNG to write: the pictures above what their latents bring back
    #[arg(long, default_value = "reconstructed.png")]
    pub out: PathBuf,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone interpolate`.
#[derive(Debug, Args)]
pub struct InterpolateArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Picture to begin with: a PNG or JPEG file of any size, or test:N for a test image of the model's data
    #[arg(long, value_name = "FILE|test:N", default_value = "test:0")]
    pub from: String,
    /// Picture to end with
    #[arg(long, value_name = "FILE|test:N", default_value = "test:1")]
    pub to: String,
    /// What all of them show; without a word the first half what is known of the first picture, the second of the last.
    #[command(flatten)]
    pub condition: ConditionArgs,
    /// Pictures, the first and the last included
    #[arg(long, default_value_t = 9)]
    pub frames: usize,
    /// PNG to write
    #[arg(long, default_value = "interpolated.png")]
    pub out: PathBuf,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone score`.
#[derive(Debug, Args)]
pub struct ScoreArgs {
    /// Folder of PNG or JPEG files, `.npz` with `arr_0` of bytes [n, h, w, c], or `.safetensors` that a run kept
    #[arg(long)]
    pub samples: PathBuf,
    /// Such a folder or file, or the name of a dataset
    #[arg(long)]
    pub reference: String,
    /// Split of the dataset to compare with: train or test
    #[arg(long, default_value = "train")]
    pub split: String,
    /// Size in pixels, for datasets that come in several
    #[arg(long)]
    pub size: Option<i64>,
    /// Network whose features the scores compare, as in an experiment's `eval.features`
    #[arg(long, default_value = "auto")]
    pub features: String,
    /// JSON file for the scores and their protocol
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone compare`.
#[derive(Debug, Args)]
pub struct CompareArgs {
    /// Folders of finished runs
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// Folder that the comparison is written into
    #[arg(long)]
    pub out: PathBuf,
    /// Show runs that do not compare apart, each group in a folder of its own
    #[arg(long)]
    pub allow_mismatch: bool,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// Folders of scored runs on shapes whose models to audit too
    pub runs: Vec<PathBuf>,
    /// Folder of the audit
    #[arg(long, default_value = "audit")]
    pub out: PathBuf,
    /// Numbers of images, with commas between
    #[arg(long, value_delimiter = ',', default_value = "500,1000,2000,5000,10000")]
    pub n: Vec<u64>,
    /// Sets of every corruption
    #[arg(long, default_value_t = 3)]
    pub seeds: u64,
    /// Size in pixels [default: the runs', else 16]
    #[arg(long, conflicts_with = "runs")]
    pub size: Option<i64>,
    /// Scenes [default: the runs', else all]
    #[arg(long, value_enum, conflicts_with = "runs")]
    pub scenes: Option<ScenesChoice>,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
}

/// `--scenes`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ScenesChoice {
    /// All of the grammar
    #[default]
    All,
    /// One large object
    Simple,
}

impl From<ScenesChoice> for Scenes {
    fn from(choice: ScenesChoice) -> Self {
        match choice {
            ScenesChoice::All => Self::All,
            ScenesChoice::Simple => Self::Simple,
        }
    }
}

/// `paragone trajectory`.
#[derive(Debug, Args)]
pub struct TrajectoryArgs {
    /// The model.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Folder that the strips are written into [default: the model's `trajectory`]
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Images: rows of a strip
    #[arg(long, short, default_value_t = 4)]
    pub n: usize,
    /// Most columns of a strip
    #[arg(long, default_value_t = 11)]
    pub frames: usize,
    /// Seed of the first image; the others count up
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub seed: u64,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// `paragone data`.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: DataCommand,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}

/// The data commands.
#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the datasets, and whether they are here
    List,
    /// Fetch a dataset, or take it from a folder
    Fetch {
        /// Name of the dataset
        dataset: String,
        /// Folder that has the files already
        #[arg(long)]
        from: Option<PathBuf>,
    },
    /// Draw a contact sheet of a dataset, one column a class
    Show {
        /// Name of the dataset
        dataset: String,
        /// Size in pixels, for datasets that come in several
        #[arg(long)]
        size: Option<i64>,
        /// Folder of an image-folder dataset
        #[arg(long)]
        path: Option<PathBuf>,
        /// PNG to write
        #[arg(long, default_value = "dataset.png")]
        out: PathBuf,
    },
}

/// `paragone features`.
#[derive(Debug, Args)]
pub struct FeaturesArgs {
    /// Name of the dataset
    pub dataset: String,
    /// Size in pixels, for datasets that come in several
    #[arg(long)]
    pub size: Option<i64>,
    /// Train the network that judges classes, not the one whose features are compared
    #[arg(long)]
    pub judge: bool,
    /// Passes over the training images [default: as the committed weights were made]
    #[arg(long)]
    pub epochs: Option<u64>,
    /// Seed of weights, order and augmentation [default: as the committed weights were made]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Weights to write
    #[arg(long)]
    pub out: PathBuf,
    /// Device and threads.
    #[command(flatten)]
    pub device: DeviceArgs,
    /// Datasets.
    #[command(flatten)]
    pub datasets: DatasetArgs,
}
