//! Memory of this process.

use crate::cuda;
use tch::Device;

/// Tells glibc's allocator to keep freed memory instead of giving it back to the system.
///
/// A training step allocates and frees the same large activations over and over; by default each is a fresh mapping
/// whose every page faults again (on two cores a small network's step took 98 ms, and 64 with this; see
/// `examples/allocator.rs`). Call it first in `main`, before the threads and the tensors. The price: memory that
/// one model freed still counts in the process's peak. Does nothing where the C library is not glibc.
pub fn tune_allocator() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: takes two numbers and a lock of the allocator's own.
    unsafe {
        libc::mallopt(libc::M_MMAP_MAX, 0);
        libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
    }
}

/// The most memory this process has held at once, in bytes: on the CPU all physical memory, on a GPU what tensors have taken
/// there. `None` where the system does not tell.
pub fn peak_memory_bytes(device: Device) -> Option<u64> {
    match device {
        Device::Cpu => peak_of(&std::fs::read_to_string("/proc/self/status").ok()?),
        Device::Cuda(index) => cuda::peak_bytes(index),
        _ => None,
    }
}

/// The "high water mark" in the text of `/proc/<pid>/status`.
fn peak_of(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_high_water_mark() {
        assert_eq!(
            peak_of("Name:\tx\nVmPeak:\t  999 kB\nVmHWM:\t    1536 kB\nVmRSS:\t 12 kB\n"),
            Some(1536 * 1024)
        );
        assert_eq!(peak_of("Name:\tx\n"), None);
    }

    #[test]
    fn the_peak_grows_with_what_is_used() {
        let before = peak_memory_bytes(Device::Cpu).expect("this system tells");
        let used = std::hint::black_box(vec![1u8; 64 << 20]);
        assert!(peak_memory_bytes(Device::Cpu).unwrap() >= before.max(used.len() as u64));
    }
}
