//! Who holds a Lease: a process, told from every other one, and whether it certainly is dead.

use std::fs;

/// A process on some machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Holder {
    name: String,
    place: Place,
}

/// Where a process runs. Empty parts are not known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Place {
    /// Start of the machine.
    boot: String,
    /// Namespace of process ids.
    pids: String,
    pid: u32,
    /// When the process began, in the machine's ticks: ids are used again.
    begun: u64,
    /// UID of the Pod, if it was told.
    pod: String,
}

impl Holder {
    /// This process.
    pub(super) fn here() -> Self {
        let host = read("/proc/sys/kernel/hostname");
        let pid = std::process::id();
        let pids = fs::read_link("/proc/self/ns/pid");
        let place = Place {
            boot: read("/proc/sys/kernel/random/boot_id"),
            pids: pids
                .map(|link| link.to_string_lossy().into_owned())
                .unwrap_or_default(),
            pid,
            begun: alive(pid).unwrap_or_default(),
            pod: std::env::var("KOINON_POD_UID").unwrap_or_default(),
        };
        Self {
            name: format!("{host}_{:016x}", rand::random::<u64>()),
            place,
        }
    }

    /// Names it in a Lease; no other process ever has this name.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Says where it is, for [`Holder::knows_dead`] of another one.
    pub(super) fn process(&self) -> String {
        let Place {
            boot,
            pids,
            pid,
            begun,
            pod,
        } = &self.place;
        format!("boot={boot} pids={pids} pid={pid} begun={begun} pod={pod}")
    }

    /// Says whether another process is certainly dead: it ran in this very Pod, whose container is started anew only after its
    /// end, or on this machine, where nothing is under its number or something younger is.
    pub(super) fn knows_dead(&self, process: &str) -> bool {
        let other = Place::parse(process);
        let (here, known) = (&self.place, |part: &str| !part.is_empty());
        if known(&here.pod) && here.pod == other.pod {
            return true;
        }
        let same_machine = known(&here.boot) && here.boot == other.boot;
        let same_ids = known(&here.pids) && here.pids == other.pids;
        // Where processes of others are hidden, one that is not seen may live.
        same_machine
            && same_ids
            && other.begun > 0
            && alive(1).is_some()
            && alive(other.pid) != Some(other.begun)
    }
}

impl Place {
    fn parse(text: &str) -> Self {
        let mut place = Self::default();
        for (key, value) in text.split(' ').filter_map(|part| part.split_once('=')) {
            match key {
                "boot" => value.clone_into(&mut place.boot),
                "pids" => value.clone_into(&mut place.pids),
                "pid" => place.pid = value.parse().unwrap_or(0),
                "begun" => place.begun = value.parse().unwrap_or(0),
                "pod" => value.clone_into(&mut place.pod),
                _ => {}
            }
        }
        place
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// When the process of this number began, if there is one that has not ended: proc(5), fields 3 and 22 of `stat`.
fn alive(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in brackets, and may have anything in it.
    let mut rest = stat.rsplit_once(')')?.1.split_whitespace();
    let state = rest.next()?;
    let begun = rest.nth(18)?.parse().ok()?;
    (!matches!(state, "Z" | "X")).then_some(begun)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_that_certainly_ended_is_dead() {
        let here = Holder::here();
        assert!(here.place.begun > 0, "{here:?}");
        assert_eq!(Place::parse(&here.process()), here.place);
        let other = |change: fn(&mut Place)| {
            let mut other = here.clone();
            change(&mut other.place);
            other.process()
        };
        // It lives: it is this one.
        assert!(!here.knows_dead(&here.process()));
        // Its number is somebody else's now, or nobody's.
        assert!(here.knows_dead(&other(|place| place.begun += 1)));
        assert!(here.knows_dead(&other(|place| place.pid = u32::MAX)));
        for (why, process) in [
            (
                "another machine",
                other(|place| (place.boot, place.pid) = ("b".into(), u32::MAX)),
            ),
            (
                "another container",
                other(|place| (place.pids, place.pid) = ("n".into(), u32::MAX)),
            ),
            (
                "not known when it began",
                other(|place| (place.begun, place.pid) = (0, u32::MAX)),
            ),
            ("nonsense", "x".to_owned()),
            ("nothing", String::new()),
        ] {
            assert!(!here.knows_dead(&process), "{why}");
        }
        let mut pod = here.clone();
        pod.place.pod = "p".into();
        let mut before = pod.clone();
        (before.place.pids, before.place.pid) = ("n".into(), 1);
        assert!(pod.knows_dead(&before.process()));
        before.place.pod = "q".into();
        assert!(!pod.knows_dead(&before.process()));
    }
}
