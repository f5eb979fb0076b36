use proptest::prelude::*;

use super::Quantity;

fn q(text: &str) -> Quantity {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn the_canonical_form_is_kubernetes_own() {
    let cases = [
        ("0", "0"),
        ("-0", "0"),
        ("0Ki", "0"),
        ("1", "1"),
        ("+1", "1"),
        ("-1", "-1"),
        ("1000", "1k"),
        ("1500", "1500"),
        ("100m", "100m"),
        ("0.1", "100m"),
        ("1000m", "1"),
        ("0.5", "500m"),
        ("1.5", "1500m"),
        (".5", "500m"),
        ("5.", "5"),
        ("1Ki", "1Ki"),
        ("1024", "1024"),
        ("1024Ki", "1Mi"),
        ("1.5Gi", "1536Mi"),
        ("1Ei", "1Ei"),
        ("0.5Ki", "512"),
        ("1.3Ki", "1331200m"),
        ("16Gi", "16Gi"),
        ("1e3", "1e3"),
        ("1E3", "1e3"),
        ("1.2e3", "1200"),
        ("100e-3", "100e-3"),
        ("12e6", "12e6"),
        ("1n", "1n"),
        ("0.1n", "1n"),
        ("1u", "1u"),
        ("3k", "3k"),
        ("1000k", "1M"),
        ("1E", "1E"),
        ("0000.10", "100m"),
        ("8Ei", "9223372036854775807"),
        ("1e100", "9223372036854775807"),
        ("1e-100", "1e-9"),
    ];
    for (text, expected) in cases {
        assert_eq!(q(text).to_string(), expected, "{text}");
    }
}

#[test]
fn what_is_no_quantity_is_refused() {
    for text in [
        "",
        "-",
        ".",
        "1.2.3",
        "1x",
        "1ki",
        "1KI",
        "e3",
        "1e",
        "1e1.5",
        "1 Gi",
        "0x1",
        "1e99999999999",
        "½",
    ] {
        assert!(text.parse::<Quantity>().is_err(), "{text}");
    }
}

#[test]
fn amounts_are_compared_and_added_exactly() {
    assert_eq!(q("1Gi"), q("1024Mi"));
    assert_eq!(q("1"), q("1000m"));
    assert!(q("1G") < q("1Gi") && q("999m") < q("1") && q("-1") < q("0"));
    assert_eq!((q("100m") + q("200m")).to_string(), "300m");
    assert_eq!((q("512Mi") + q("512Mi")).to_string(), "1Gi");
    assert_eq!((q("0") + q("1Gi")).to_string(), "1Gi");
    assert_eq!(
        (q("9223372036854775807") + q("1")),
        q("9223372036854775807")
    );
    assert_eq!(
        (
            q("1500m").value(),
            q("-1500m").value(),
            q("1.5").milli_value()
        ),
        (2, -1, 1500)
    );
    assert_eq!(Quantity::whole(4), q("4"));
    assert!(q("0").is_zero() && q("-1n").is_negative());
    assert!((q("2500m").as_f64() - 2.5).abs() < f64::EPSILON);
}

proptest! {
    #[test]
    fn the_canonical_form_means_the_same(text in "[+-]?[0-9]{1,12}(\\.[0-9]{1,9})?(m|u|k|M|G|Ki|Mi|Gi|e3|e-3|)") {
        let quantity = q(&text);
        let printed = quantity.to_string();
        prop_assert_eq!(q(&printed), quantity, "{} {}", text, printed);
        prop_assert_eq!(q(&printed).to_string(), printed);
    }

    #[test]
    fn order_is_that_of_the_amounts(left: i32, right: i32, unit in "m|Ki|k||Gi") {
        let (a, b) = (q(&format!("{left}{unit}")), q(&format!("{right}{unit}")));
        prop_assert_eq!(a.cmp(&b), left.cmp(&right));
        prop_assert_eq!(a + b, b + a);
    }

    #[test]
    fn any_text_is_a_quantity_or_refused(text in "[0-9.+-]{0,45}[eEinumkKMGTP]{0,2}[-+]?[0-9]{0,12}|.{0,20}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            let _ = (quantity.to_string(), quantity + quantity, quantity.value());
        }
    }
}
