use super::*;

fn sight() -> Sight {
    Sight {
        nodes: Look::Known(nodes::Resources::default()),
        claims: Look::Known(Claims::default()),
        properties: Look::Absent,
        namespaces: Fared::new(),
    }
}

fn report(sight: &Sight) -> ClusterReport {
    let facts = Facts {
        cluster_uid: "uid".to_owned(),
        claiming: Claiming::default(),
        version: "v1.33.1".to_owned(),
    };
    build(&Verdict::Ok, &facts, sight)
}

#[test]
fn a_report_says_what_was_not_looked_at() {
    let complete = sight();
    assert!(!complete.is_pending());
    let told = report(&complete);
    assert!(!told.resources_unknown && !told.claims_unknown, "{told:?}");

    for (claims, properties, unknown) in [
        (Look::Pending, Look::Absent, true),
        // The definition is not there, so no claims are.
        (Look::Absent, Look::Absent, false),
        (Look::Forbidden, Look::Absent, true),
        (Look::Known(Claims::default()), Look::Pending, true),
        (Look::Known(Claims::default()), Look::Forbidden, false),
    ] {
        let one = Sight {
            claims,
            properties,
            ..sight()
        };
        let told = report(&one);
        assert_eq!(told.claims_unknown, unknown, "{:?}", one.claims);
        // What needs no reading is told in any case.
        assert_eq!(told.claims.len(), 2);
    }
    for nodes in [Look::Pending, Look::Forbidden] {
        let one = Sight { nodes, ..sight() };
        assert!(report(&one).resources_unknown);
    }
}
