//! Running the program, and looking at what it leaves behind.

use paragone::families::FAMILIES;
use serde_json::Value as Json;
use serde_yaml::{Mapping, Value};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant, SystemTime},
};

/// An empty folder for one test.
pub fn scratch(test: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("end-to-end").join(test);
    let _ = fs::remove_dir_all(&path);
    fs::create_dir_all(&path).expect("a scratch folder");
    path
}

/// Names of all families, which are the names of the models in [`experiment`].
pub fn families() -> Vec<&'static str> {
    FAMILIES.iter().map(|entry| entry.name).collect()
}

/// Writes an experiment with one tiny model of each of some families, named like it. `changes`: dotted keys and values.
pub fn experiment(dir: &Path, families: &[&str], changes: &[(&str, &str)]) -> PathBuf {
    let mut root: Value = serde_yaml::from_str(
        "name: tiny
seed: 1
data: { dataset: shapes, size: 16, condition: class, train_images: 128, test_images: 64 }
train:
  batch_size: 8
  budget: { images: 400 }
  threads: 1
  checkpoint_every: { share: 0.1 }
  log_every: 2
  sample_every: { share: 0.5 }
  snapshots: 2
eval:
  samples: 24
  features: random-conv
  likelihood_images: 4
  kernel_subsets: 4
  kernel_subset_size: 12
  memorization_samples: 8
  curves: { samples: 12, temperatures: [0.8], guidance_scales: [2.0] }
",
    )
    .expect("the experiment is YAML");
    let mut models = Mapping::new();
    for name in families {
        let entry = paragone::families::find(name).expect("a registered family");
        let mut section = Mapping::new();
        section.insert("family".into(), (*name).into());
        if let Value::Mapping(own) = (entry.tiny)().to_value() {
            section.extend(own);
        }
        models.insert((*name).into(), section.into());
    }
    root["models"] = models.into();
    for (key, value) in changes {
        let value: Value = serde_yaml::from_str(value).expect("the value is YAML");
        let (last, above) = key.rsplit_once('.').map_or((*key, None), |(a, b)| (b, Some(a)));
        let parent =
            above.into_iter().flat_map(|keys| keys.split('.')).fold(&mut root, |at, key| {
                if at[key].is_null() {
                    at[key] = Mapping::new().into();
                }
                &mut at[key]
            });
        parent[last] = value;
    }
    let path = dir.join("experiment.yaml");
    fs::write(&path, serde_yaml::to_string(&root).expect("plain data")).expect("a written file");
    path
}

/// How a command ended.
#[derive(Debug)]
pub struct Ended {
    /// Exit code; none after a kill.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// Fails with everything the command said unless it ended with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless standard error has all of `parts`.
    #[track_caller]
    pub fn says(&self, parts: &[&str]) {
        for part in parts {
            assert!(self.stderr.contains(part), "{part:?} is not in:\n{}", self.stderr);
        }
    }
}

/// Runs the program to its end.
pub fn paragone<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Ended {
    let output = command(args).output().expect("the program starts");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs an experiment to its end.
pub fn run(experiment: &Path, out: &Path, more: &[&str]) -> Ended {
    paragone(&run_args(experiment, out, more))
}

fn run_args(experiment: &Path, out: &Path, more: &[&str]) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let mut args = vec!["run".to_owned(), path(experiment), "--out".to_owned(), path(out)];
    args.extend(more.iter().map(|arg| (*arg).to_owned()));
    args
}

fn command<S: AsRef<std::ffi::OsStr>>(args: &[S]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_paragone"));
    // No dataset is needed but the embedded one; none may be found by chance.
    command.args(args).env("PARAGONE_DATASETS", "no-datasets").stdin(Stdio::null());
    command.env("PARAGONE_CACHE", cache());
    command
}

/// Where the program keeps what later runs need.
pub fn cache() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache")
}

/// A running program in a process group of its own, as a shell starts it.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stderr: PathBuf,
}

impl Running {
    /// Starts `paragone run`; what it says goes to a file beside `out`.
    pub fn start(experiment: &Path, out: &Path, more: &[&str]) -> Self {
        use std::os::unix::process::CommandExt;
        let stderr = out.with_extension(format!("stderr{}", more.concat()));
        let file = fs::File::create(&stderr).expect("a file for standard error");
        let child = command(&run_args(experiment, out, more))
            .stdout(Stdio::null())
            .stderr(file)
            .process_group(0)
            .spawn()
            .expect("the program starts");
        Self { child, stderr }
    }

    /// Sends a signal to the program and its children, as a terminal does for Ctrl-C.
    pub fn signal_all(&self, signal: &str) {
        kill(signal, &format!("-{}", self.child.id()));
    }

    /// Sends a signal to the program alone.
    pub fn signal_parent(&self, signal: &str) {
        kill(signal, &self.child.id().to_string());
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        self.child.try_wait().expect("a child of ours").is_some()
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait(mut self, limit: Duration) -> Ended {
        let start = Instant::now();
        while !self.ended() {
            if start.elapsed() > limit {
                self.signal_all("KILL");
                let said = fs::read_to_string(&self.stderr).unwrap_or_default();
                panic!("it has not ended within {limit:?}; it said:\n{said}");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let status = self.child.wait().expect("a child of ours");
        let stderr = fs::read_to_string(&self.stderr).unwrap_or_default();
        Ended { code: status.code(), stdout: String::new(), stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A failed test leaves nothing running.
        if !self.ended() {
            self.signal_all("KILL");
            let _ = self.child.wait();
        }
    }
}

/// A target that has just ended by itself is none of a test's concern.
fn kill(signal: &str, target: &str) {
    // The shell's own `kill`: no package has to be there. (POSIX has no `--` here.)
    let command = format!("kill -{signal} {target}");
    let _ = Command::new("sh").arg("-c").arg(&command).stderr(Stdio::null()).status();
}

/// Waits for something to become true.
#[track_caller]
pub fn wait_for(what: &str, limit: Duration, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Whether nobody trains a model: its lock can be had.
pub fn is_idle(model: &Path) -> bool {
    match fs::File::open(model.join("lock")) {
        Ok(file) => file.try_lock().is_ok(),
        Err(_) => true,
    }
}

/// Lines of a model's `metrics.jsonl`.
pub fn logged(model: &Path) -> usize {
    fs::read_to_string(model.join("metrics.jsonl")).map_or(0, |text| text.lines().count())
}

/// One run of all families, finished: made by the first test that asks, changed by none.
pub fn finished() -> &'static Path {
    static RUN: OnceLock<PathBuf> = OnceLock::new();
    RUN.get_or_init(|| {
        let dir = scratch("finished");
        let experiment = experiment(&dir, &families(), &[]);
        let out = dir.join("run");
        run(&experiment, &out, &[]).expect(0);
        out
    })
}

/// The experiment file of [`finished`].
pub fn finished_experiment() -> PathBuf {
    finished().with_file_name("experiment.yaml")
}

/// A copy of [`finished`] to change.
pub fn copy_of_finished(test: &str) -> PathBuf {
    let to = scratch(test).join("run");
    copy(finished(), &to);
    to
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for path in entries(from) {
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).expect("a copied file");
        }
    }
}

/// What is in a folder, sorted.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let read = fs::read_dir(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut paths: Vec<PathBuf> = read.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths
}

/// Every file below a folder: its path within, when it was written and what is in it.
pub fn snapshot(dir: &Path) -> BTreeMap<PathBuf, (SystemTime, Vec<u8>)> {
    let mut files = BTreeMap::new();
    for path in entries(dir) {
        if path.is_dir() {
            let below = snapshot(&path).into_iter();
            let name = PathBuf::from(path.file_name().expect("an entry has a name"));
            files.extend(below.map(|(file, state)| (name.join(file), state)));
        } else {
            let written = fs::metadata(&path).and_then(|data| data.modified()).expect("a file");
            let name = PathBuf::from(path.file_name().expect("an entry has a name"));
            files.insert(name, (written, fs::read(&path).expect("a readable file")));
        }
    }
    files
}

/// Contents of the files of [`snapshot`].
pub fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    snapshot(dir).into_iter().map(|(path, (_, bytes))| (path, bytes)).collect()
}

/// The newest checkpoint of a model.
pub fn newest_checkpoint(model: &Path) -> PathBuf {
    let step = |path: &Path| -> Option<u64> {
        path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()
    };
    let checkpoints = entries(&model.join("checkpoints")).into_iter();
    let newest = checkpoints.filter_map(|path| Some((step(&path)?, path))).max();
    newest.unwrap_or_else(|| panic!("{} has no checkpoint", model.display())).1
}

/// Trained weights, averages and optimiser state of the newest checkpoint, as they are on disk.
pub fn weights(model: &Path) -> BTreeMap<String, Vec<u8>> {
    let checkpoint = newest_checkpoint(model);
    let read = |part: &str| {
        let path = checkpoint.join(format!("{part}.safetensors"));
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    ["model", "ema", "optimizer"].map(|part| (part.to_owned(), read(part))).into()
}

/// A JSON file.
#[track_caller]
pub fn json(path: &Path) -> Json {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}\n{text}", path.display()))
}

/// Size of a picture, which must be one of more than one colour.
#[track_caller]
pub fn picture(path: &Path) -> (u32, u32) {
    let picture = image::open(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).to_rgb8();
    let first = *picture.get_pixel(0, 0);
    let varied = picture.pixels().any(|pixel| *pixel != first);
    assert!(varied, "{} is of one colour", path.display());
    picture.dimensions()
}
