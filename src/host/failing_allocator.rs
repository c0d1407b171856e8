//! For tests only: an allocator that fails the n-th large allocation.
//!
//! Large ones are those whose size somebody else decides, if the test makes its arguments large enough.
//! Small ones are never failed: Rust takes them for granted, and a server without even these ends by
//! itself.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

/// What counts as large, in bytes: more than any structure of ours has.
const LARGE: usize = 16 << 10;

/// How many large allocations come before the one that fails, and it; 0 for none.
static COUNTDOWN: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: FailingAllocator = FailingAllocator;

struct FailingAllocator;

/// Fails the `nth` large allocation from now on; returns whether the one that was to fail before
/// is still to come.
pub(crate) fn fail(nth: u64) -> bool {
    COUNTDOWN.swap(nth, Ordering::Relaxed) > 0
}

fn fails(size: usize) -> bool {
    size >= LARGE
        && COUNTDOWN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        }) == Ok(1)
}

// SAFETY: passes everything on to the system's allocator, or answers NULL, as an allocator may.
unsafe impl GlobalAlloc for FailingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if fails(layout.size()) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if fails(size) {
            return ptr::null_mut();
        }
        // SAFETY: the caller's promise.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
