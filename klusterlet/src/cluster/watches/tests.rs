//! What wakes whom.

use kube::{
    core::{DynamicObject, PartialObjectMeta},
    runtime::watcher::Event,
};
use serde_json::json;

use super::{
    super::known::{CONFIG_MAPS, NAMESPACES},
    *,
};

fn became(version: &str) -> Touch {
    Touch::Became(version.to_owned())
}

fn listed(version: &str) -> Touch {
    Touch::Listed(version.to_owned())
}

#[test]
fn only_later_versions_and_deletions_are_news_but_a_list_may_be_of_a_backup() {
    for (touch, seen, expected) in [
        (Touch::Unknown, Some("5"), true),
        (became("5"), None, true),
        (became("5"), Some("5"), false),
        (became("4"), Some("5"), false),
        (became("10"), Some("9"), true),
        (became("b"), Some("a"), true),
        (became("a"), Some("a"), false),
        (listed("5"), Some("5"), false),
        (listed("4"), Some("5"), true),
        (listed("10"), Some("9"), true),
    ] {
        assert_eq!(touch.is_news(seen), expected, "{touch:?} {seen:?}");
    }
}

fn object(version: &str) -> PartialObjectMeta<DynamicObject> {
    let object = json!({"metadata": {"name": "a", "resourceVersion": version}});
    serde_json::from_value(object).unwrap()
}

#[test]
fn an_object_that_was_rolled_back_wakes_its_work_and_so_does_one_that_cannot_be_watched() {
    let resource = Arc::new(NAMESPACES.clone());
    let key = ObjectKey {
        resource: resource.clone(),
        namespace: String::new(),
        name: "a".into(),
    };
    let wake = Arc::new(Wake::default());
    let mut watched = Watched::of(&resource);
    watched.track("w", &wake, &key);
    watched.seen("w", &key, Some("9"));
    let mut listed_names = HashSet::new();
    for (event, expected) in [
        (Event::Apply(object("9")), None),
        (Event::Apply(object("8")), None),
        (Event::InitApply(object("9")), None),
        // After a restore the same names have older versions.
        (Event::InitApply(object("3")), Some(listed("3"))),
        (Event::Apply(object("10")), Some(became("10"))),
        (Event::Delete(object("3")), Some(Touch::Unknown)),
    ] {
        let said = format!("{event:?}");
        watched.event(&resource, &Scope::Everywhere, event, &mut listed_names);
        assert_eq!(wake.take().remove(&key), expected, "{said}");
    }
    watched.touch_all(&resource, &Scope::Everywhere);
    assert_eq!(wake.take().remove(&key), Some(Touch::Unknown));
}

#[test]
fn where_not_everything_may_be_watched_each_namespace_is_once() {
    let resource = Arc::new(CONFIG_MAPS.clone());
    let wake = Arc::new(Wake::default());
    let key = |namespace: &str| ObjectKey {
        resource: resource.clone(),
        namespace: namespace.into(),
        name: "a".into(),
    };
    let mut watched = Watched::of(&resource);
    for namespace in ["one", "two"] {
        watched.track("w", &wake, &key(namespace));
        watched.seen("w", &key(namespace), Some("1"));
        assert_eq!(
            watched.enter(&key(namespace)),
            None,
            "everything is watched"
        );
    }
    let scopes = watched.narrow();
    assert_eq!(scopes.len(), 2);
    assert!(watched.narrow().is_empty() && watched.enter(&key("one")).is_none());
    let one = scopes.iter().find(|scope| scope.namespace() == Some("one"));
    let one = one.unwrap();

    // What a list of one namespace does not have says nothing of the other one.
    watched.event(&resource, one, Event::InitDone, &mut HashSet::new());
    let touched: Vec<_> = wake.take().into_keys().collect();
    assert_eq!(touched, [key("one")]);

    // A namespace that is new, and one that is left and entered again.
    let three = watched.enter(&key("three")).unwrap();
    assert!(watched.needs(&three) && !watched.has_any(&three));
    assert!(!watched.leave(&three) && !watched.needs(&three));
    let again = watched.enter(&key("three")).unwrap();
    assert!(watched.needs(&again) && again != three);

    // Everything may be watched after all, and then not: the watches of before are not taken for those of now.
    watched.widen();
    assert!(scopes.iter().all(|scope| !watched.needs(scope)));
    let later = watched.narrow();
    assert_eq!(later.len(), 2);
    assert!(later.iter().all(|scope| watched.needs(scope)));
    assert!(scopes.iter().all(|scope| !watched.needs(scope)));
    assert!(watched.leave(&Scope::Everywhere));
}

#[test]
fn where_not_everything_may_be_watched_some_objects_outside_of_namespaces_are_and_the_others_are_read()
 {
    let resource = Arc::new(NAMESPACES.clone());
    let wake = Arc::new(Wake::default());
    let key = |n: usize| ObjectKey {
        resource: resource.clone(),
        namespace: String::new(),
        name: format!("n{n:02}"),
    };
    let mut watched = Watched::of(&resource);
    for n in 0..40 {
        watched.track("w", &wake, &key(n));
        watched.seen("w", &key(n), Some("1"));
    }
    let scopes = watched.narrow();
    let names: HashSet<_> = scopes.iter().filter_map(Scope::name).collect();
    assert_eq!(names.len(), 32);
    assert!(watched.narrow().is_empty() && watched.enter(&key(50)).is_none());

    watched.touch_rest(&resource);
    let read: Vec<_> = wake.take().into_keys().collect();
    assert!(read.len() == 8 && read.iter().all(|key| !names.contains(key.name.as_str())));

    // One watch tells of its own object alone, and its failure makes that one be read.
    let (one, own) = (&scopes[0], scopes[0].name().unwrap());
    watched.event(&resource, one, Event::InitDone, &mut HashSet::new());
    let gone: Vec<_> = wake.take().into_keys().map(|key| key.name).collect();
    assert_eq!(gone, [own]);
    watched.touch_all(&resource, one);
    assert_eq!(wake.take().len(), 1);
    // A place that is free is for another one.
    assert!(watched.has_any(one) && !watched.leave(one));
    assert!(watched.enter(&key(50)).is_some());
}

#[test]
fn only_a_lack_of_rights_is_one() {
    let status = |code: u16| {
        let mut status = kube::core::Status::failure("no", "no");
        status.code = code;
        Box::new(status)
    };
    assert!(is_forbidden(&watcher::Error::WatchError(status(403))));
    assert!(is_forbidden(&watcher::Error::InitialListFailed(
        kube::Error::Api(status(403))
    )));
    assert!(!is_forbidden(&watcher::Error::InitialListFailed(
        kube::Error::Api(status(429))
    )));
    assert!(!is_forbidden(&watcher::Error::NoResourceVersion));
}
