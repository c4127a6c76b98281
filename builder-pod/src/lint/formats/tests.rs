//! What each form looks like.

use std::collections::BTreeMap;

use stagecraft_image::Platform;
use stagecraft_plan::PlanInputs;

use super::*;
use crate::lint::check;

/// A check without network of a file of this name.
fn checked(file: &str, text: &str) -> (Check, Checked) {
    let platform: Platform = "linux/amd64".parse().unwrap();
    let asked = Check {
        text: text.to_owned(),
        inputs: PlanInputs {
            file: file.to_owned(),
            build_args: BTreeMap::new(),
            contexts: BTreeMap::new(),
            target: None,
            further_targets: Vec::new(),
            tests: Vec::new(),
            platform: platform.clone(),
            build_platform: platform,
            labels: BTreeMap::new(),
            source_date_epoch: None,
        },
        ignore: None,
        strict: false,
    };
    let runtime = tokio::runtime::Builder::new_current_thread();
    let mut runtime = runtime;
    let checked = runtime.build().unwrap().block_on(check(&asked, None));
    (asked, checked)
}

const FILE: &str = "FROM scratch\nENV é $X\nCOPPY a b\nCMD x\n";

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn text_has_errors_and_findings_in_the_order_of_the_file() {
    let (asked, checked) = checked("Dockerfile", FILE);
    let text = text(&asked, &checked, Colours::Never);
    let heads: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("warning[") || line.starts_with("error["))
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(
        heads,
        [
            "warning[LegacyKeyValueFormat]",
            "warning[UndefinedVar]",
            "error[SC1003]",
            "warning[JSONArgsRecommended]"
        ]
    );
    assert_eq!(summary(&checked), "1 error, 3 warnings");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn json_has_everything_with_its_place() {
    let (asked, checked) = checked("Dockerfile", FILE);
    let object = parsed(&json(&asked, &checked));
    let error = &object["errors"][0];
    assert_eq!(error["code"], "SC1003");
    assert_eq!((&error["line"], &error["column"]), (&json!(3), &json!(1)));
    assert_eq!(error["help"], "did you mean COPY?");
    let warning = &object["warnings"][1];
    assert_eq!(warning["rule"], "UndefinedVar");
    assert_eq!(warning["url"], "docs/using/lint/UndefinedVar.md");
    let columns = (&warning["column"], &warning["endColumn"]);
    assert_eq!(columns, (&json!(7), &json!(9)), "characters, not bytes");
}

#[test]
fn annotations_escape_what_means_something_in_them() {
    let (asked, mut checked) = checked("a,b:c%/Dockerfile", "FROM scratch\nCMD x\n");
    checked.report.findings[0].message = "100 %\r\nof it: a, b".to_owned();
    checked.report.findings[0].help = None;
    assert_eq!(
        github(&asked, &checked),
        "::warning file=a%2Cb%3Ac%25/Dockerfile,line=2,col=1,endColumn=6,title=JSONArgsRecommended::100 %25%0D%0Aof it: a, b\n"
    );
}

/// What a consumer of SARIF relies on (the standard's sections 3.13, 3.14, 3.27, 3.30 and 3.49).
#[test]
fn sarif_is_a_log_of_version_2_1_0() {
    let (asked, checked) = checked("deploy files/Dockerfile", FILE);
    let log = parsed(&sarif(&asked, &checked));
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for rule in rules {
        assert!(rule["id"].is_string() && rule["shortDescription"]["text"].is_string());
        let level = rule["defaultConfiguration"]["level"].as_str().unwrap();
        assert!(["none", "note", "warning", "error"].contains(&level));
    }
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 4);
    for result in results {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[index]["id"], result["ruleId"]);
        assert!(result["message"]["text"].is_string());
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(
            place["artifactLocation"]["uri"],
            "deploy%20files/Dockerfile"
        );
        let region = &place["region"];
        let number = |name: &str| region[name].as_u64().unwrap();
        assert!(number("startLine") >= 1 && number("startColumn") >= 1);
        assert!(number("endColumn") >= number("startColumn"));
    }
}

#[test]
fn a_clean_file_has_no_result_in_any_form() {
    let (asked, checked) = checked("Dockerfile", "FROM scratch\nCOPY a /\n");
    assert_eq!(text(&asked, &checked, Colours::Never), "");
    assert_eq!(github(&asked, &checked), "");
    assert_eq!(parsed(&json(&asked, &checked))["warnings"], json!([]));
    let log = parsed(&sarif(&asked, &checked));
    assert_eq!(log["runs"][0]["results"], json!([]));
}
