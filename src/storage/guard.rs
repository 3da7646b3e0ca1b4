//! Guard: a page of a map that the disk can't deliver becomes an error instead of the process's end.
//!
//! Touching such a page raises SIGBUS. A handler, installed with the first guarded map, looks the
//! address up among the guarded maps. If it lies in one, the handler notes the offset, puts a page of
//! zeros there, and the load goes on; whoever read asks the guard afterwards and throws the zeros away.
//! Every other SIGBUS goes to the handler that was there before.
//!
//! ```text
//!   load ─▶ SIGBUS ─▶ whose page? ─┬─ a guarded map's: note the offset ─▶ zeros ─▶ load again
//!                                  └─ nobody's: the handler before, or the default: the end
//!   load ─▶ copy ─▶ fault()? ─▶ an error, or the copy
//! ```
//!
//! # Invariants
//!
//! - The offset is noted before the zeros are there: who has read zeros, on any thread, finds it.
//! - The handler takes no lock and allocates nothing: it loads atomics and makes system calls.
//! - A slot stands for a map from before its first read until after its last; no other slot has an
//!   address of the map meanwhile.
//!
//! Spec: none. I/O: SIGBUS, anonymous maps. Unsafe: the handler, and what installs it.

use std::io;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicUsize, compiler_fence, fence};

/// The start of a slot that no map has.
const FREE: usize = 0;
/// The start of a slot that somebody is about to fill. No page starts here.
const TAKEN: usize = 1;
/// The fault of a map that had none.
const NONE: usize = usize::MAX;
/// Slots are made so many at a time.
const SLOTS: usize = 64;

/// One guarded map.
struct Slot {
    start: AtomicUsize,
    /// Behind its last page.
    end: AtomicUsize,
    /// Where the first page starts that was missing, counted from the start of the map.
    fault: AtomicUsize,
}

/// Slots, and more of them. Nothing of this list is ever freed: a handler may be reading it.
struct Slots {
    slots: [Slot; SLOTS],
    next: OnceLock<&'static Self>,
}

static FIRST: Slots = Slots::new();

impl Slots {
    const fn new() -> Self {
        let slots = [const {
            Slot {
                start: AtomicUsize::new(FREE),
                end: AtomicUsize::new(0),
                fault: AtomicUsize::new(NONE),
            }
        }; SLOTS];
        Self { slots, next: OnceLock::new() }
    }

    /// All slots that there are; this only loads atomics.
    #[cfg(target_os = "linux")]
    fn all() -> impl Iterator<Item = &'static Slot> {
        let blocks = std::iter::successors(Some(&FIRST), |slots| slots.next.get().copied());
        blocks.flat_map(|slots| &slots.slots)
    }

    /// A slot that is the caller's alone.
    fn take() -> &'static Slot {
        let mut slots = &FIRST;
        loop {
            let take =
                |slot: &&Slot| slot.start.compare_exchange(FREE, TAKEN, AcqRel, Relaxed).is_ok();
            if let Some(slot) = slots.slots.iter().find(take) {
                return slot;
            }
            slots = slots.next.get_or_init(|| Box::leak(Box::new(Self::new())));
        }
    }

    /// The slot of the map that has this address, and where that starts.
    #[cfg(target_os = "linux")]
    fn find(address: usize) -> Option<(&'static Slot, usize)> {
        Self::all().find_map(|slot| {
            let start = slot.start.load(Acquire);
            let end = slot.end.load(Acquire);
            // The end may be that of a map that has the slot by now; then the start is another one too.
            let has_it = start > TAKEN && (start..end).contains(&address);
            (has_it && slot.start.load(Acquire) == start).then_some((slot, start))
        })
    }
}

/// Watches over one map. It has to be dropped before the map is.
pub(super) struct Guard {
    slot: &'static Slot,
}

impl Guard {
    /// Guards a map of `len` bytes from `start` on, which nobody has read yet.
    ///
    /// # Errors
    ///
    /// What the system says if no handler can be installed; `Unsupported` where this was never tried.
    pub(super) fn over(start: usize, len: usize) -> io::Result<Self> {
        let page_len = signal::install()?;
        let slot = Slots::take();
        slot.end.store(start.saturating_add(len.next_multiple_of(page_len)), Release);
        slot.fault.store(NONE, Release);
        slot.start.store(start, Release);
        Ok(Self { slot })
    }

    /// The offset of the first page that was missing when it was read, if one was.
    ///
    /// This has to come after the loads that it speaks of, and it does: see the fences.
    #[inline]
    pub(super) fn fault(&self) -> Option<u64> {
        // The handler runs in the middle of a load, on its thread or on another one. The compiler
        // must not move loads of the map down here, and the processor must not look ahead.
        compiler_fence(SeqCst);
        fence(Acquire);
        let fault = self.slot.fault.load(Relaxed);
        (fault != NONE).then_some(fault as u64)
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.slot.start.store(FREE, Release);
    }
}

/// The handler of SIGBUS.
#[cfg(target_os = "linux")]
mod signal {
    use std::io;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering::{AcqRel, Acquire};

    use libc::{c_int, c_void, siginfo_t};

    use super::{NONE, Slots};

    type Handler = extern "C" fn(c_int);
    type InfoHandler = extern "C" fn(c_int, *mut siginfo_t, *mut c_void);

    /// What is known once, before the handler is installed.
    struct Installed {
        /// What was done about SIGBUS before.
        before: libc::sigaction,
        page_len: usize,
    }

    static INSTALLED: OnceLock<Installed> = OnceLock::new();

    /// Installs the handler, if nobody has, and gives the length of a page.
    pub(super) fn install() -> io::Result<usize> {
        static DONE: OnceLock<Result<usize, i32>> = OnceLock::new();
        let done = DONE.get_or_init(|| {
            // SAFETY: `sysconf` takes any number, and only answers.
            #[expect(unsafe_code, reason = "a call of C; see SAFETY")]
            let page_len = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
            let page_len = usize::try_from(page_len).ok().filter(|len| len.is_power_of_two());
            let page_len = page_len.ok_or(libc::ENOTSUP)?;
            // First what was there, as a signal that comes in between has to be passed on.
            let before = INSTALLED.get_or_init(|| Installed { before: current(), page_len }).before;
            let mut action = before;
            action.sa_sigaction = on_fault as *const () as usize;
            // On the thread's alternate stack, where it has one: what was there before may need that, to
            // tell that a stack is full. Its mask, and whether the signal may come again while it runs,
            // stay as it wants them; it is called in the place of this.
            action.sa_flags =
                libc::SA_SIGINFO | libc::SA_ONSTACK | before.sa_flags & libc::SA_NODEFER;
            set(&action).map_err(|error| error.raw_os_error().unwrap_or(libc::ENOTSUP))?;
            Ok(page_len)
        });
        done.map_err(io::Error::from_raw_os_error)
    }

    /// What is done about SIGBUS now.
    fn current() -> libc::sigaction {
        let mut action = MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: `sigaction` requires: that the new action, if there is one, and the place for the old
        // one are valid for a read and a write of the struct. There is no new one, and the place is ours.
        // Of a struct of numbers and an optional function all zeros are a value too, the default
        // action, so it is initialized even if the call should fail.
        #[expect(unsafe_code, reason = "a call of C; see SAFETY")]
        unsafe {
            libc::sigaction(libc::SIGBUS, ptr::null(), action.as_mut_ptr());
            action.assume_init()
        }
    }

    fn set(action: &libc::sigaction) -> io::Result<()> {
        // SAFETY: `sigaction` requires what `current` says, and that the handler may run at any moment
        // on any thread. The action is borrowed, and no place is given for the old one. Its handler is
        // `on_fault`, which says why it may, or the default.
        #[expect(unsafe_code, reason = "a call of C; see SAFETY")]
        let result = unsafe { libc::sigaction(libc::SIGBUS, action, ptr::null_mut()) };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Handles SIGBUS. It may interrupt anything: it loads and stores atomics and makes system calls,
    /// and neither locks nor allocates nor panics.
    extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
        // SAFETY: the system calls a handler that was set with SA_SIGINFO with a pointer to a siginfo
        // that is valid until it returns; `si_addr` reads the field that SIGBUS fills, and whatever
        // stands there for a signal that a process sent is a number as good as any.
        #[expect(unsafe_code, reason = "the system hands over a pointer; see SAFETY")]
        let (code, address) = unsafe { ((*info).si_code, (*info).si_addr().addr()) };
        // Not so if the address were unaligned, which no page helps with, or if a process sent it.
        let is_missing = matches!(code, libc::BUS_ADRERR | libc::BUS_MCEERR_AR);
        if !(is_missing && INSTALLED.get().is_some_and(|all| cover(address, all.page_len))) {
            pass_on(signal, info, context, code);
        }
    }

    /// Puts a page of zeros at an address of a guarded map, and notes it; false if it is no such address.
    fn cover(address: usize, page_len: usize) -> bool {
        let Some((slot, start)) = Slots::find(address) else { return false };
        let page = address - address % page_len;
        // Only the first one is kept. Before the zeros are there, so that nobody reads them unwarned.
        let _ = slot.fault.compare_exchange(NONE, page - start, AcqRel, Acquire);
        let (protection, flags) =
            (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
        // SAFETY: `mmap` at a fixed address replaces what is mapped there, so it requires that the page
        // belongs to us and that nobody relies on its bytes. It lies in the map of `slot`, which is
        // read by the thread that this interrupts, and so not unmapped before it goes on; no other
        // mapping shares the page, as a map begins and ends at one. Its bytes are not there: the
        // system said so just now, or another thread's handler put zeros there a moment ago. Slices
        // of the map see other bytes than before only if the page had been there and was
        // taken away, which is the event that the guard reports: who reads asks `Guard::fault`
        // before the bytes are believed. The map is unmapped as a whole later, this page with it.
        #[expect(unsafe_code, reason = "replacing a page; see SAFETY")]
        let covered = unsafe {
            let place = ptr::without_provenance_mut(page);
            libc::mmap(place, page_len, protection, flags, -1, 0)
        };
        covered.addr() == page
    }

    /// Does about the signal what was done before.
    fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void, code: c_int) {
        let Some(Installed { before, .. }) = INSTALLED.get() else { return };
        // Else the system did, and does it again when the handler returns.
        let was_sent = code <= 0;
        match before.sa_sigaction {
            libc::SIG_IGN if was_sent => {}
            libc::SIG_DFL | libc::SIG_IGN => {
                let mut action = *before;
                action.sa_sigaction = libc::SIG_DFL;
                action.sa_flags = 0;
                let _ = set(&action);
                if was_sent {
                    // SAFETY: `raise` takes any signal; this one ends the process as soon as the handler
                    // returns.
                    #[expect(unsafe_code, reason = "a call of C; see SAFETY")]
                    unsafe {
                        libc::raise(signal);
                    }
                }
            }
            handler => {
                // SAFETY: a function pointer requires the address of a function of that type. Somebody
                // gave this one to `sigaction`, so it is one of a handler, and SA_SIGINFO tells which of
                // the two kinds. It is called with the arguments that the system gave, on the stack
                // and in the place of the handler that it was.
                #[expect(unsafe_code, reason = "calling another one's handler; see SAFETY")]
                unsafe {
                    let handler = ptr::with_exposed_provenance::<()>(handler);
                    if before.sa_flags & libc::SA_SIGINFO == 0 {
                        std::mem::transmute::<*const (), Handler>(handler)(signal);
                    } else {
                        std::mem::transmute::<*const (), InfoHandler>(handler)(
                            signal, info, context,
                        );
                    }
                }
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod signal {
    /// No system but Linux was tried.
    pub(super) fn install() -> std::io::Result<usize> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
#[cfg(all(target_os = "linux", not(miri)))]
mod tests {
    use std::fs::File;
    use std::hint::black_box;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    use super::*;
    use crate::storage::mmap::Map;

    const PAGE: usize = 4096;

    fn file(pages: usize) -> File {
        let file = tempfile::tempfile().unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, &vec![7; pages * PAGE], 0).unwrap();
        file
    }

    fn byte(map: &Map, page: usize) -> u8 {
        black_box(&map.bytes()[..])[page * PAGE + 5]
    }

    #[test]
    fn a_missing_page_reads_as_zeros_and_is_told() {
        let file = file(5);
        let map = Map::guarded(&file, 5 * PAGE - 100).unwrap();
        assert_eq!((byte(&map, 4), map.fault()), (7, None));
        file.set_len(2 * PAGE as u64).unwrap();
        assert_eq!((byte(&map, 1), map.fault()), (7, None));
        assert_eq!((byte(&map, 3), map.fault()), (0, Some(3 * PAGE as u64)));
        // The first one is kept; what is there still reads.
        assert_eq!((byte(&map, 4), byte(&map, 2), byte(&map, 1)), (0, 0, 7));
        assert_eq!(map.fault(), Some(3 * PAGE as u64));
    }

    #[test]
    fn a_fault_is_that_of_its_own_map() {
        let files: Vec<File> = (0..3 * SLOTS).map(|_| file(2)).collect();
        for _ in 0..2 {
            let guarded = |file| Map::guarded(file, 2 * PAGE).unwrap();
            let maps: Vec<Map> = files.iter().map(guarded).collect();
            for (number, (file, map)) in files.iter().zip(&maps).enumerate() {
                if number % 3 == 1 {
                    file.set_len(PAGE as u64).unwrap();
                    assert_eq!(byte(map, 1), 0);
                }
            }
            for (number, map) in maps.iter().enumerate() {
                let want = (number % 3 == 1).then_some(PAGE as u64);
                assert_eq!(map.fault(), want, "map {number}");
            }
            drop(maps);
            for file in &files {
                file.set_len(2 * PAGE as u64).unwrap();
            }
        }
    }

    #[test]
    fn all_who_read_zeros_are_told() {
        for _ in 0..50 {
            let file = file(64);
            let map = Map::guarded(&file, 64 * PAGE).unwrap();
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| {
                        for page in (0..64).cycle().take(5_000) {
                            assert!(byte(&map, page) == 7 || map.fault().is_some());
                        }
                    });
                }
                file.set_len(0).unwrap();
            });
        }
    }

    /// Tells a process of this test which way it is to end.
    const WAY: &str = "TINYDB_GUARD_CHILD";

    extern "C" fn leave(_: libc::c_int) {
        // SAFETY: `_exit` may be called by a handler, and ends the process.
        #[expect(unsafe_code, reason = "a call of C; see SAFETY")]
        unsafe {
            libc::_exit(77);
        }
    }

    /// Dies of a signal that is not about a guarded map; only a child of the test below does anything.
    #[test]
    fn child() {
        let Ok(way) = std::env::var(WAY) else { return };
        let has_handler = way.contains("handler");
        let action = if has_handler { leave as *const () as usize } else { libc::SIG_DFL };
        // SAFETY: `leave` may interrupt anything, as it ends the process.
        #[expect(unsafe_code, reason = "a call of C; see SAFETY")]
        unsafe {
            libc::signal(libc::SIGBUS, action);
        }
        let (guarded, plain) = (file(1), file(1));
        let map = Map::guarded(&guarded, PAGE).unwrap();
        guarded.set_len(0).unwrap();
        assert_eq!((byte(&map, 0), map.fault()), (0, Some(0)));
        if way.contains("sent") {
            // SAFETY: `raise` takes any signal.
            #[expect(unsafe_code, reason = "a call of C; see SAFETY")]
            unsafe {
                libc::raise(libc::SIGBUS);
            }
        } else {
            let map = Map::new(&plain, PAGE).unwrap();
            plain.set_len(0).unwrap();
            byte(&map, 0);
        }
        panic!("nobody ended this");
    }

    #[test]
    fn another_fault_goes_to_the_handler_that_was_there() {
        for (way, code, signal) in [
            ("handler fault", Some(77), None),
            ("handler sent", Some(77), None),
            ("default fault", None, Some(libc::SIGBUS)),
            ("default sent", None, Some(libc::SIGBUS)),
        ] {
            let mut child = Command::new(std::env::current_exe().unwrap());
            let child = child.args(["--exact", "storage::guard::tests::child"]).env(WAY, way);
            let status = child.output().unwrap().status;
            assert_eq!((status.code(), status.signal()), (code, signal), "{way}");
        }
    }
}
