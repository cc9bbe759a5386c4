//! `cascade report`: a page that a screen reader can read and a phone can show.

use crate::fit::project;

/// Every opening tag of that name.
fn tags<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    let open = format!("<{name}");
    let starts = page.match_indices(&open).map(|(start, _)| &page[start..]);
    let whole = starts.map(|rest| &rest[..rest.find('>').unwrap()]);
    whole
        .filter(|tag| tag[1 + name.len()..].starts_with([' ', '\n']) || tag.len() == 1 + name.len())
        .collect()
}

#[test]
fn the_page_can_be_read_aloud_and_without_a_network() {
    let project = project();
    project.run(&["report", "triage"]).expect_code(0);
    let page = project.read("report.html");
    let headings = page.match_indices("<h").filter_map(|(at, _)| page[at + 2..].chars().next()?.to_digit(10));
    let headings: Vec<u32> = headings.collect();
    assert_eq!(headings.iter().filter(|level| **level == 1).count(), 1);
    assert!(headings[0] == 1 && headings.windows(2).all(|pair| pair[1] <= pair[0] + 1), "{headings:?}");

    let pictures = tags(&page, "svg");
    assert!(pictures.len() >= 4, "{}", pictures.len());
    for picture in pictures {
        assert!(
            picture.contains("role=\"img\" aria-label=\"") && !picture.contains("aria-label=\"\""),
            "{picture}"
        );
    }
    // A row is laid out as a list on a phone, where browsers forget what the elements are.
    for (name, role) in
        [("table", "table"), ("tr", "row"), ("td", "cell"), ("tbody", "rowgroup"), ("thead", "rowgroup")]
    {
        let tags = tags(&page, name);
        let with_role = |tag: &&str| tag.contains(&format!("role=\"{role}\""));
        assert!(!tags.is_empty() && tags.iter().all(with_role), "{name}");
    }
    for cell in tags(&page, "th") {
        assert!(cell.contains("scope=\"col\"") || cell.contains("scope=\"row\""), "{cell}");
    }
    // What is wider than the page scrolls in a box of its own, which the keyboard reaches.
    assert_eq!(
        page.matches("<div class=\"scroll\" tabindex=\"0\"><table").count(),
        tags(&page, "table").len()
    );
    assert!(page.contains(" (chosen)</th>"), "what is chosen is told by more than bold letters");
    assert!(!page.contains("<script") && !page.contains("src=\"http") && !page.contains("href=\"http"));
}
