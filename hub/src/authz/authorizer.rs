//! The rules as they are now, and the questions about them.

use std::{fmt, ops::ControlFlow, sync::Arc};

use koinon_store::{Event, Key, Store, Watch};
use parking_lot::RwLock;

use super::{
    Attributes, Decision, Index, Rule,
    agent::{self, Standing},
    cover::{self, quoted},
    index::{Part, RoleRef},
    sets,
};
use crate::auth::{MASTERS, Member, User};

/// Answers who may do what, from the watch cache. Cheap to clone.
///
/// A write that this replica acknowledged counts at once, another replica's as soon as the cache has it.
#[derive(Clone)]
pub struct Authorizer(Arc<Inner>);

struct Inner {
    store: Store,
    state: RwLock<State>,
}

/// Which answers come with a reason.
#[derive(Clone, Copy, Debug)]
enum Words {
    OfNo,
    OfBoth,
}

/// The index, and how far it has come. Empty until first asked.
#[derive(Default)]
struct State {
    index: Index,
    feeds: Vec<(Part, Watch)>,
    /// How often it has changed.
    changes: u64,
}

impl fmt::Debug for Authorizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorizer").finish_non_exhaustive()
    }
}

impl Authorizer {
    /// Answers from `store`.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner {
            store,
            state: RwLock::default(),
        }))
    }

    /// Decides whether `user` may do what `asked` says. A yes comes without its reason, for every request asks.
    pub fn authorize(&self, user: &User, asked: &Attributes) -> Decision {
        self.decide(user, asked, Words::OfNo)
    }

    /// The same with the reason of a yes, for reviews.
    pub fn explain(&self, user: &User, asked: &Attributes) -> Decision {
        self.decide(user, asked, Words::OfBoth)
    }

    fn decide(&self, user: &User, asked: &Attributes, words: Words) -> Decision {
        if let Some(cluster) = &user.cluster {
            return if agent::may(&cluster.name, self.standing(cluster), asked) {
                Decision::Allowed(String::new())
            } else {
                Decision::Denied(String::new())
            };
        }
        if user.in_group(MASTERS) {
            return Decision::Allowed(String::new());
        }
        let direct = self.by_rules(user, asked, words);
        if direct.is_allowed() {
            return direct;
        }
        let set_of = |cluster: &str| self.set_of(cluster);
        let through = sets::translate(asked, set_of);
        let allowed = !through.is_empty()
            && through
                .iter()
                .all(|asked| self.by_rules(user, asked, Words::OfNo).is_allowed());
        if allowed {
            Decision::Allowed(match words {
                Words::OfNo => String::new(),
                Words::OfBoth => format!("allowed by rights on {}", sets::described(&through)),
            })
        } else {
            direct
        }
    }

    /// The same as a yes or no.
    pub fn allows(&self, user: &User, asked: &Attributes) -> bool {
        self.authorize(user, asked).is_allowed()
    }

    /// Changes whenever a role or a binding does: what was allowed before may not be any more.
    pub fn changes(&self) -> u64 {
        self.with_state(|state| state.changes)
    }

    /// All rules that hold for `user` in `namespace` and cluster-wide, and what could not be found on the way.
    pub fn rules(&self, user: &User, namespace: &str) -> (Vec<Rule>, Vec<String>) {
        if user.cluster.is_some() {
            return (
                Vec::new(),
                vec!["an agent's rights are not RBAC rules".to_owned()],
            );
        }
        if user.in_group(MASTERS) {
            return (everything(), Vec::new());
        }
        let mut rules = Vec::new();
        let faults = self.with_index(|index| {
            index.visit(user, namespace, |_, rule| {
                rules.push(rule.clone());
                ControlFlow::Continue(())
            })
        });
        (rules, faults)
    }

    /// Refuses that `user` grants what he does not have; in kube-apiserver's words.
    ///
    /// # Errors
    ///
    /// The words.
    pub fn confirm_grant(
        &self,
        user: &User,
        namespace: &str,
        wanted: &[Rule],
    ) -> Result<(), String> {
        let (held, faults) = self.rules(user, namespace);
        let Some(missing) = cover::missing(&held, wanted) else {
            return Ok(());
        };
        let mut words = format!(
            "user {:?} (groups={}) is attempting to grant RBAC permissions not currently held:\n{missing}",
            user.name,
            quoted(&user.groups)
        );
        if !faults.is_empty() {
            words.push_str(&format!("; resolution errors: [{}]", faults.join(", ")));
        }
        Err(words)
    }

    /// Whether `user` has all rights there are.
    pub fn is_almighty(&self, user: &User) -> bool {
        self.confirm_grant(user, "", &everything()).is_ok()
    }

    /// The rules of a role, as a binding in `namespace` would grant them.
    pub fn role(&self, role: &RoleRef, namespace: &str) -> Option<Arc<[Rule]>> {
        self.with_index(|index| index.role(role, namespace).map(Arc::clone))
    }

    fn by_rules(&self, user: &User, asked: &Attributes, words: Words) -> Decision {
        self.with_index(|index| {
            let mut allowed = None;
            let faults = index.visit(user, &asked.namespace, |grant, rule| {
                if rule.allows(asked) {
                    allowed = Some(match words {
                        Words::OfNo => String::new(),
                        Words::OfBoth => grant.to_string(),
                    });
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            });
            match (allowed, faults.as_slice()) {
                (Some(grant), _) => Decision::Allowed(grant),
                (None, []) => Decision::Denied(String::new()),
                (None, [one]) => Decision::Denied(format!("RBAC: {one}")),
                (None, many) => Decision::Denied(format!("RBAC: [{}]", many.join(", "))),
            }
        })
    }

    /// Whether the cluster of a certificate is there still, and let in.
    pub(super) fn standing(&self, cluster: &Member) -> Standing {
        let key = Key::new(sets::CLUSTER_KEY, "", cluster.name.as_str());
        let stored = self.0.store.get(&key);
        let Some(stored) = stored.filter(|stored| stored.uid == cluster.uid) else {
            return Standing::Gone;
        };
        let body: serde_json::Value = serde_json::from_slice(&stored.body).unwrap_or_default();
        if body.pointer("/spec/hubAcceptsClient") == Some(&serde_json::Value::Bool(true)) {
            Standing::Accepted
        } else {
            Standing::Waiting
        }
    }

    /// The set that a cluster is in by its label.
    pub(super) fn set_of(&self, cluster: &str) -> Option<String> {
        let key = Key::new(sets::CLUSTER_KEY, "", cluster);
        let stored = self.0.store.get(&key)?;
        stored
            .labels
            .get(koinon_api::labels::label::CLUSTER_SET)
            .cloned()
    }

    fn with_index<T>(&self, ask: impl FnOnce(&Index) -> T) -> T {
        self.with_state(|state| ask(&state.index))
    }

    fn with_state<T>(&self, ask: impl FnOnce(&State) -> T) -> T {
        {
            let state = self.0.state.read();
            if state.is_current() {
                return ask(&state);
            }
        }
        let mut state = self.0.state.write();
        state.catch_up(&self.0.store);
        ask(&state)
    }
}

impl State {
    fn is_current(&self) -> bool {
        !self.feeds.is_empty() && !self.feeds.iter().any(|(_, watch)| watch.is_behind())
    }

    fn catch_up(&mut self, store: &Store) {
        if self.feeds.is_empty() || self.drain().is_err() {
            self.rebuild(store);
        }
    }

    /// Applies what came since; fails when too much did.
    fn drain(&mut self) -> Result<(), koinon_store::Expired> {
        let Self {
            index,
            feeds,
            changes,
        } = self;
        for (part, watch) in feeds {
            while let Some(batch) = watch.try_next()? {
                for event in &batch.events {
                    apply(index, *part, event);
                    *changes += 1;
                }
            }
        }
        Ok(())
    }

    fn rebuild(&mut self, store: &Store) {
        *self = Self {
            changes: self.changes + 1,
            ..Self::default()
        };
        for (part, resource) in Part::ALL {
            let snapshot = store.snapshot(resource);
            for stored in snapshot.iter() {
                let (namespace, name) = (&stored.key.namespace, &stored.key.name);
                self.index
                    .observe(part, namespace, name, Some(&stored.body));
            }
            // A watch from a snapshot's revision can be expired only under a flood of changes; the next question
            // rebuilds again then.
            let Ok(watch) = store.watch(resource, snapshot.revision()) else {
                self.feeds.clear();
                return;
            };
            self.feeds.push((part, watch));
        }
    }
}

fn apply(index: &mut Index, part: Part, event: &Event) {
    let latest = event.latest();
    let body = event.after.as_ref().map(|after| &after.body[..]);
    index.observe(part, &latest.key.namespace, &latest.key.name, body);
}

fn everything() -> Vec<Rule> {
    vec![
        Rule::on(&["*"], &["*"], &["*"]),
        Rule::on_paths(&["*"], &["*"]),
    ]
}
