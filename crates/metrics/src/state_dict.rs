//! Named tensors from a weights file: safetensors, or what PyTorch's `torch.save` makes of a state dict.
//!
//! PyTorch has two formats, a zip archive since version 1.6 and a row of pickles before. Both are read without running
//! anything that the file says.

use crate::pickle::{self, Value};
use safetensors::SafeTensors;
use std::{
    collections::{BTreeMap, HashMap},
    io::{Cursor, Read},
};
use tch::{Kind, Tensor};
use zip::ZipArchive;

/// How the older format begins: a pickled magic number.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// Tensors by name.
#[derive(Debug)]
pub(crate) struct StateDict(BTreeMap<String, Tensor>);

impl StateDict {
    /// The tensor of a name, which must have the given shape and hold floating-point numbers.
    pub(crate) fn get(&self, name: &str, shape: &[i64]) -> Result<Tensor, String> {
        let tensor = self.0.get(name).ok_or_else(|| format!("{name} is missing"))?;
        let (size, kind) = (tensor.size(), tensor.kind());
        if size != shape || !tensor.is_floating_point() {
            return Err(format!("{name} is {kind:?} {size:?}, but must be Float {shape:?}"));
        }
        Ok(tensor.shallow_clone())
    }
}

/// Reads the bytes of a file of any of the formats. An error says what is wrong with them.
pub(crate) fn read(bytes: &[u8]) -> Result<StateDict, String> {
    let tensors = if bytes.starts_with(ZIP_MAGIC) {
        read_zip(bytes)
    } else if bytes.starts_with(LEGACY_MAGIC) {
        read_legacy(bytes)
    } else {
        read_safetensors(bytes)
    };
    tensors.map(StateDict)
}

fn read_safetensors(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        format!("neither what torch.save writes nor a sound safetensors file ({error})")
    })?;
    let tensor = |(name, view)| {
        let tensor = Tensor::try_from(view).map_err(|error| format!("{name}: {error}"))?;
        Ok((name, tensor))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// A zip archive of `NAME/data.pkl` and one file `NAME/data/KEY` for each storage.
fn read_zip(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| error.to_string())?;
    let root = archive.file_names().find_map(|name| name.strip_suffix("data.pkl"));
    let root = root.ok_or("a zip archive without data.pkl, so not made by torch.save")?.to_string();
    let mut file = |name: &str| {
        let mut bytes = Vec::new();
        let mut file = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
        file.read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
        Ok::<_, String>(bytes)
    };
    let (dict, _) = pickle::read(&file(&format!("{root}data.pkl"))?)?;
    let mut storages = HashMap::new();
    for storage in storages_of(&dict)? {
        storages.insert(storage.key.to_string(), file(&format!("{root}data/{}", storage.key))?);
    }
    tensors(&dict, |key| storages.get(key).map(Vec::as_slice))
}

/// Pickles of a magic number, a version, the machine, the dict and the storages' keys, then the storages, each as its
/// number of elements and these.
fn read_legacy(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    let mut rest = bytes;
    let mut next = || {
        let (value, after) = pickle::read(rest)?;
        rest = after;
        Ok::<_, String>(value)
    };
    let [_magic, _version, _machine] = [next()?, next()?, next()?];
    let (dict, keys) = (next()?, next()?);
    let kinds: HashMap<_, _> =
        storages_of(&dict)?.into_iter().map(|storage| (storage.key, storage.kind)).collect();
    let mut storages = HashMap::new();
    for key in keys.items().ok_or("no list of storages")? {
        let key = key.text().ok_or("a storage without a name")?;
        let kind = *kinds.get(key).ok_or("a storage that no tensor uses")?;
        let (count, after) = rest.split_first_chunk().ok_or("the file ends within a storage")?;
        let len = usize::try_from(i64::from_le_bytes(*count)).ok();
        let len = len.and_then(|count| count.checked_mul(kind.elt_size_in_bytes()));
        let storage = len.and_then(|len| after.split_at_checked(len));
        let (storage, after) = storage.ok_or("the file ends within a storage")?;
        storages.insert(key, storage);
        rest = after;
    }
    tensors(&dict, |key| storages.get(key).copied())
}

/// What a pickle says of the memory behind a tensor.
struct Storage<'a> {
    key: &'a str,
    kind: Kind,
}

impl<'a> Storage<'a> {
    /// From `("storage", type, key, device, number of elements, ...)`.
    fn of(value: &'a Value) -> Option<Result<Self, String>> {
        let [marker, Value::Global(class), key, ..] = value.reference()?.items()? else {
            return None;
        };
        (marker.text()? == "storage").then_some(())?;
        let kind = match class.strip_prefix("torch.")? {
            "FloatStorage" => Kind::Float,
            "DoubleStorage" => Kind::Double,
            "HalfStorage" => Kind::Half,
            "BFloat16Storage" => Kind::BFloat16,
            "LongStorage" => Kind::Int64,
            other => return Some(Err(format!("tensors of torch.{other} are not read"))),
        };
        Some(Ok(Self { key: key.text()?, kind }))
    }
}

/// The arguments of the call that remakes a tensor.
fn rebuild(value: &Value) -> Option<&[Value]> {
    match value.call()? {
        ("torch._utils._rebuild_tensor_v2", arguments) => Some(arguments),
        ("torch._utils._rebuild_parameter", [tensor, ..]) => rebuild(tensor),
        _ => None,
    }
}

/// Names and tensors of a dict, the tensors as the arguments that remake them.
fn entries(dict: &Value) -> Result<impl Iterator<Item = (&str, &[Value])>, String> {
    let entries = dict.entries().ok_or("no dict of tensors, so no state dict")?;
    Ok(entries.iter().filter_map(|(name, value)| Some((name.text()?, rebuild(value)?))))
}

fn storages_of(dict: &Value) -> Result<Vec<Storage<'_>>, String> {
    entries(dict)?.filter_map(|(_, arguments)| Storage::of(arguments.first()?)).collect()
}

fn tensors<'a>(
    dict: &Value,
    bytes: impl Fn(&str) -> Option<&'a [u8]>,
) -> Result<BTreeMap<String, Tensor>, String> {
    let tensor = |arguments: &[Value]| {
        let [storage, offset, size, stride, ..] = arguments else { return None };
        let Storage { key, kind } = Storage::of(storage)?.ok()?;
        let bytes = bytes(key)?;
        let (size, stride) = (size.integers()?, stride.integers()?);
        let count = (bytes.len() / kind.elt_size_in_bytes()) as i64;
        let whole = Tensor::f_from_data_size(bytes, &[count], kind).ok()?;
        // libtorch checks that it lies within the storage.
        Some(whole.f_as_strided(size, stride, offset.integer()?).ok()?.contiguous())
    };
    entries(dict)?
        .map(|(name, arguments)| {
            let tensor = tensor(arguments).ok_or_else(|| format!("{name} is damaged"))?;
            Ok((name.to_string(), tensor))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Device;

    /// Both by PyTorch 2.11's `torch.save`, the second with `_use_new_zipfile_serialization=False`, of one ordered dict with
    /// a state dict's `_metadata`: `weight` is `arange(6.).reshape(2, 3)`, `transposed` and `second_row` are views of it.
    const FILES: [&[u8]; 2] =
        [include_bytes!("../tests/state-dict.pth"), include_bytes!("../tests/state-dict-old.pth")];

    fn floats(dict: &StateDict, name: &str, shape: &[i64]) -> Vec<f32> {
        let tensor = dict.get(name, shape).unwrap();
        Vec::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap()
    }

    #[test]
    fn pytorch_s_files_hold_what_was_saved() {
        for dict in FILES.map(|bytes| read(bytes).unwrap()) {
            assert_eq!(dict.0.len(), 7);
            assert_eq!(floats(&dict, "weight", &[2, 3]), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
            assert_eq!(floats(&dict, "transposed", &[3, 2]), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
            assert_eq!(floats(&dict, "second_row", &[3]), [3.0, 4.0, 5.0]);
            assert_eq!(floats(&dict, "half", &[2]), [0.5, -2.0]);
            assert_eq!(floats(&dict, "brain", &[1]), [3.0]);
            assert_eq!(floats(&dict, "parameter", &[1]), [1.5]);
            assert_eq!(dict.0["steps"].int64_value(&[]), 7);
        }
    }

    #[test]
    fn what_is_not_as_asked_is_named() {
        let dict = read(FILES[0]).unwrap();
        let message = |name, shape| dict.get(name, shape).unwrap_err();
        assert_eq!(message("wait", &[1]), "wait is missing");
        assert_eq!(message("weight", &[3, 2]), "weight is Float [2, 3], but must be Float [3, 2]");
        assert_eq!(message("steps", &[]), "steps is Int64 [], but must be Float []");
    }

    #[test]
    fn safetensors_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.safetensors");
        let tensor = Tensor::ones([2, 2], (Kind::Half, Device::Cpu));
        Tensor::write_safetensors(&[("a", tensor)], &path).unwrap();
        let dict = read(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(floats(&dict, "a", &[2, 2]), [1.0; 4]);
        let message = read(b"an HTML page").unwrap_err();
        assert!(message.starts_with("neither what torch.save writes nor a sound safetensors file"));
    }

    /// Whatever a file says: an error or tensors, never a panic.
    #[test]
    fn damaged_files_are_errors() {
        for file in FILES {
            for len in 0..file.len() {
                assert!(read(&file[..len]).is_err(), "{len} bytes");
            }
            for at in 0..file.len() {
                for change in [0x01, 0x80, 0xff] {
                    let mut file = file.to_vec();
                    file[at] ^= change;
                    let _ = read(&file);
                }
            }
        }
    }

    #[test]
    fn other_pickles_are_named() {
        let message = |bytes: &[u8]| pickle::read(bytes).unwrap_err();
        assert_eq!(message(b"\x80\x04N."), "pickle protocol 4, but only 2 is read");
        assert!(message(b"\x80\x02i").contains("the instruction 0x69"));
        assert_eq!(message(b"\x80\x02X\x09\0\0\0abc"), "the file ends within a pickle");
        assert_eq!(message(b"\x80\x02N\x86."), "a damaged pickle");
    }
}
