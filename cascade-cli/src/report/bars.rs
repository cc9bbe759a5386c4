//! Charts made of bars: shares of a whole, and steps that add up.

use super::chart::{BOTTOM, HEIGHT, LEFT, RIGHT, Scale, TOP, WIDTH, escape, svg};
use std::fmt::Write as _;

/// A horizontal bar: its name and its parts, which add up to one.
#[derive(Clone, Debug)]
pub(crate) struct Bar {
    /// Name at the left.
    pub(crate) name: String,
    /// Number of the colour, share and name of each part.
    pub(crate) parts: Vec<(usize, f64, String)>,
}

/// Horizontal bars.
pub(crate) fn shares(rows: &[Bar], title: &str) -> String {
    let mut body = String::new();
    let (bar, gap, left) = (26.0, 12.0, 172.0);
    for (index, Bar { name, parts }) in rows.iter().enumerate() {
        let y = TOP + index as f64 * (bar + gap);
        let _ = write!(
            body,
            r#"<text class="label" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            left - 10.0,
            y + 16.0,
            escape(name)
        );
        let mut x = left;
        for (colour, share, label) in parts {
            let width = share * (WIDTH - left - RIGHT);
            let _ = write!(
                body,
                r#"<g><title>{}: {:.1} %</title><rect class="part c{}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{bar}"/>"#,
                escape(label),
                100.0 * share,
                colour % 8
            );
            if width > 46.0 {
                let _ = write!(
                    body,
                    r#"<text class="inside" x="{:.1}" y="{:.1}" text-anchor="middle">{:.0} %</text>"#,
                    x + width / 2.0,
                    y + 16.0,
                    100.0 * share
                );
            }
            body.push_str("</g>");
            x += width;
        }
    }
    svg(TOP * 2.0 + rows.len() as f64 * (bar + gap), title, &body)
}

/// A waterfall: signed steps from zero to their sum.
pub(crate) fn waterfall(steps: &[(&str, f64)], total: (&str, f64), title: &str) -> String {
    let mut heights = vec![0.0];
    for (_, step) in steps {
        heights.push(heights.last().copied().unwrap_or(0.0) + step);
    }
    let scale = Scale::linear(heights.iter().copied().chain([0.0, total.1]));
    let mut body = String::new();
    let bars = steps.len() + 1;
    let slot = (WIDTH - LEFT - RIGHT) / bars as f64;
    let at = |value: f64| HEIGHT - BOTTOM - scale.place(value) * (HEIGHT - TOP - BOTTOM);
    let _ = write!(
        body,
        r#"<line class="rule" x1="{LEFT}" y1="{0:.1}" x2="{1:.1}" y2="{0:.1}"/>"#,
        at(0.0),
        WIDTH - RIGHT
    );
    let named = steps.iter().map(|(name, step)| (*name, *step)).chain([total]);
    for (index, (name, step)) in named.enumerate() {
        let from = if index < steps.len() { heights[index] } else { 0.0 };
        let (top, bottom) = (at((from + step).max(from)), at((from + step).min(from)));
        let x = LEFT + index as f64 * slot + slot * 0.18;
        let class = if index == steps.len() {
            "sum"
        } else if step < 0.0 {
            "down"
        } else {
            "up"
        };
        let _ = write!(
            body,
            r#"<rect class="part {class}" x="{x:.1}" y="{top:.1}" width="{:.1}" height="{:.1}"/><text class="label" x="{:.1}" y="{:.1}" text-anchor="middle">{:+.2} pp</text><text class="tick" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
            slot * 0.64,
            (bottom - top).max(1.0),
            x + slot * 0.32,
            top - 6.0,
            100.0 * step,
            x + slot * 0.32,
            HEIGHT - BOTTOM + 20.0,
            escape(name)
        );
    }
    svg(HEIGHT, title, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_on_empty_data() {
        assert!(!waterfall(&[], ("total", 0.0), "t").contains("NaN"));
        assert!(shares(&[], "t").starts_with("<svg"));
    }
}
