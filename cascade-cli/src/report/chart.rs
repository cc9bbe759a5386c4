//! A small chart: two scales, a frame with ticks, and marks drawn as SVG that follows the page's light or dark colours.

use std::fmt::Write as _;

/// Width and height of every chart in SVG units; the page scales them to the screen.
pub(super) const WIDTH: f64 = 720.0;
pub(super) const HEIGHT: f64 = 420.0;
pub(super) const LEFT: f64 = 76.0;
pub(super) const RIGHT: f64 = 18.0;
pub(super) const TOP: f64 = 18.0;
pub(super) const BOTTOM: f64 = 56.0;

/// The range of one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    low: f64,
    high: f64,
    logarithmic: bool,
}

impl Scale {
    /// A linear scale that holds all values with a little room.
    pub(crate) fn linear(values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = range(values);
        let room = (high - low).max(1e-12) * 0.06;
        Self { low: low - room, high: high + room, logarithmic: false }
    }

    /// A logarithmic scale for positive values; linear if they span less than a factor of 20.
    pub(crate) fn costs(values: impl IntoIterator<Item = f64> + Clone) -> Self {
        let (low, high) = range(values.clone().into_iter().filter(|value| *value > 0.0));
        if low > 0.0 && high / low >= 20.0 {
            Self { low: low / 1.3, high: high * 1.3, logarithmic: true }
        } else {
            Self::linear(values)
        }
    }

    /// From 0 to 1 along the axis.
    pub(super) fn place(self, value: f64) -> f64 {
        if self.logarithmic {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        }
    }

    /// Round values to label.
    fn ticks(self) -> Vec<f64> {
        if self.logarithmic {
            let mut ticks = Vec::new();
            let mut decade = 10_f64.powf(self.low.log10().floor());
            while decade <= self.high {
                ticks.extend(
                    [1.0, 2.0, 5.0]
                        .map(|m| m * decade)
                        .into_iter()
                        .filter(|t| (self.low..=self.high).contains(t)),
                );
                decade *= 10.0;
            }
            if ticks.len() > 8 {
                ticks.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-9);
            }
            return ticks;
        }
        let raw = (self.high - self.low) / 6.0;
        let magnitude = 10_f64.powf(raw.log10().floor());
        let step =
            [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|m| m * magnitude).find(|s| *s >= raw).unwrap_or(raw);
        let mut ticks = Vec::new();
        let mut tick = (self.low / step).ceil() * step;
        while tick <= self.high {
            ticks.push(if tick.abs() < step * 1e-9 { 0.0 } else { tick });
            tick += step;
        }
        ticks
    }
}

fn range(values: impl IntoIterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .into_iter()
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    if low > high {
        (0.0, 1.0)
    } else if low < high {
        (low, high)
    } else {
        (low - 0.5, high + 0.5)
    }
}

/// A chart being drawn.
#[derive(Debug)]
pub(crate) struct Chart {
    x: Scale,
    y: Scale,
    body: String,
}

/// Writes a number briefly, with three significant digits: for ticks and marks.
pub(crate) fn brief(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 {
        return "0".into();
    }
    if size < 1e-4 {
        return format!("{value:.2e}").replace(".00e", "e");
    }
    let mut decimals = 2;
    let mut scaled = size;
    while scaled < 1.0 {
        scaled *= 10.0;
        decimals += 1;
    }
    while scaled >= 10.0 && decimals > 0 {
        scaled /= 10.0;
        decimals -= 1;
    }
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Text made safe inside HTML and SVG.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            c => out.push(c),
        }
        out
    })
}

impl Chart {
    /// An empty chart with its frame, ticks and axis labels.
    pub(crate) fn new(x: Scale, y: Scale, x_label: &str, y_label: &str) -> Self {
        let mut chart = Self { x, y, body: String::new() };
        let (bottom, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for tick in x.ticks() {
            let at = chart.x_at(tick);
            let _ = write!(
                chart.body,
                r#"<line class="grid" x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{bottom}"/><text class="tick" x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 18.0,
                brief(tick)
            );
        }
        for tick in y.ticks() {
            let at = chart.y_at(tick);
            let _ = write!(
                chart.body,
                r#"<line class="grid" x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}"/><text class="tick" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 7.0,
                at + 4.0,
                brief(tick)
            );
        }
        let _ = write!(
            chart.body,
            r#"<text class="axis" x="{:.1}" y="{:.1}" text-anchor="middle">{}</text><text class="axis" transform="translate(15 {:.1}) rotate(-90)" text-anchor="middle">{}</text>"#,
            f64::midpoint(LEFT, right),
            HEIGHT - 10.0,
            escape(x_label),
            f64::midpoint(TOP, bottom),
            escape(y_label)
        );
        chart
    }

    fn x_at(&self, value: f64) -> f64 {
        LEFT + self.x.place(value).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn y_at(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - self.y.place(value).clamp(0.0, 1.0) * (HEIGHT - TOP - BOTTOM)
    }

    fn path(&self, points: impl IntoIterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (index, (x, y)) in points.into_iter().enumerate() {
            let _ =
                write!(path, "{}{:.1} {:.1}", if index == 0 { 'M' } else { 'L' }, self.x_at(x), self.y_at(y));
        }
        path
    }

    /// A line through points. `class` names its colour in the style sheet.
    pub(crate) fn line(&mut self, class: &str, points: &[(f64, f64)]) {
        let path = self.path(points.iter().copied());
        let _ = write!(self.body, r#"<path class="line {class}" d="{path}"/>"#);
    }

    /// A band between two lines given as (x, low, high).
    pub(crate) fn band(&mut self, class: &str, points: &[(f64, f64, f64)]) {
        let lower = points.iter().rev().map(|&(x, low, _)| (x, low));
        let path = self.path(points.iter().map(|&(x, _, high)| (x, high)).chain(lower));
        let _ = write!(self.body, r#"<path class="band {class}" d="{path}Z"/>"#);
    }

    /// Steps: each value holds from its x to the next.
    pub(crate) fn steps(&mut self, class: &str, points: &[(f64, f64)]) {
        let corners: Vec<(f64, f64)> = points
            .iter()
            .enumerate()
            .flat_map(|(index, &(x, y))| {
                let before = index.checked_sub(1).and_then(|at| points.get(at)).map(|&(_, y)| (x, y));
                before.into_iter().chain([(x, y)])
            })
            .collect();
        self.line(class, &corners);
    }

    /// A dot with its name, which also shows when pointed at.
    pub(crate) fn dot(&mut self, class: &str, at: (f64, f64), label: &str, title: &str) {
        let (x, y) = (self.x_at(at.0), self.y_at(at.1));
        let _ = write!(
            self.body,
            r#"<g><title>{}</title><circle class="dot {class}" cx="{x:.1}" cy="{y:.1}" r="5"/>"#,
            escape(title)
        );
        if !label.is_empty() {
            // Near the right edge the name goes to the left of its dot.
            let (dx, anchor) = if x > WIDTH - 150.0 { (-9.0, "end") } else { (9.0, "start") };
            let _ = write!(
                self.body,
                r#"<text class="label" x="{:.1}" y="{:.1}" text-anchor="{anchor}">{}</text>"#,
                x + dx,
                // Below its dot, where a curve that rises to it does not run.
                y + 18.0,
                escape(label)
            );
        }
        self.body.push_str("</g>");
    }

    /// A small diamond that shows `title` when pointed at; `sure` fills it.
    pub(crate) fn diamond(&mut self, class: &str, at: (f64, f64), sure: bool, title: &str) {
        let (x, y) = (self.x_at(at.0), self.y_at(at.1));
        let fill = if sure { "sure" } else { "unsure" };
        let _ = write!(
            self.body,
            r#"<path class="mark {class} {fill}" d="M{x:.1} {:.1}l5 5l-5 5l-5 -5Z"><title>{}</title></path>"#,
            y - 5.0,
            escape(title)
        );
    }

    /// A cross of two intervals.
    pub(crate) fn cross(&mut self, class: &str, at: (f64, f64), x: [f64; 2], y: [f64; 2]) {
        self.line(class, &[(x[0], at.1), (x[1], at.1)]);
        self.line(class, &[(at.0, y[0]), (at.0, y[1])]);
    }

    /// A vertical line across the chart with a name at its top.
    pub(crate) fn rule(&mut self, class: &str, x: f64, label: &str) {
        let at = self.x_at(x);
        let _ = write!(
            self.body,
            r#"<line class="rule {class}" x1="{at:.1}" y1="{TOP}" x2="{at:.1}" y2="{:.1}"/><text class="label" x="{:.1}" y="{:.1}">{}</text>"#,
            HEIGHT - BOTTOM,
            at + 5.0,
            TOP + 12.0,
            escape(label)
        );
    }

    /// A horizontal line across the chart with a name at its right end.
    pub(crate) fn level(&mut self, class: &str, y: f64, label: &str) {
        let (at, right) = (self.y_at(y), WIDTH - RIGHT);
        let _ = write!(
            self.body,
            r#"<line class="rule {class}" x1="{LEFT}" y1="{at:.1}" x2="{right}" y2="{at:.1}"/><text class="label" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
            right - 4.0,
            at - 5.0,
            escape(label)
        );
    }

    /// The finished picture. `title` is what a screen reader says.
    pub(crate) fn finish(self, title: &str) -> String {
        svg(HEIGHT, title, &self.body)
    }
}

pub(super) fn svg(height: f64, title: &str, body: &str) -> String {
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="{0}"><title>{0}</title>{body}</svg>"#,
        escape(title)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_inside() {
        let scale = Scale::linear([0.41, 0.93]);
        assert_eq!(
            scale.ticks().iter().map(|t| brief(*t)).collect::<Vec<_>>(),
            ["0.4", "0.5", "0.6", "0.7", "0.8", "0.9"]
        );
        let costs = Scale::costs(vec![1e-5, 3e-3]);
        assert!(costs.logarithmic && costs.ticks().iter().all(|t| (costs.low..=costs.high).contains(t)));
        assert!(!Scale::costs(vec![1e-5, 3e-5]).logarithmic);
    }

    #[test]
    fn numbers_keep_three_digits() {
        for (value, text) in [
            (0.0, "0"),
            (0.0191, "0.0191"),
            (0.172_4, "0.172"),
            (1.0, "1"),
            (81.53, "81.5"),
            (1234.5, "1234"),
            (-0.5, "-0.5"),
            (2.5e-7, "2.50e-7"),
        ] {
            assert_eq!(brief(value), text);
        }
    }

    #[test]
    fn nothing_breaks_on_empty_or_constant_data() {
        for values in [vec![], vec![1.0], vec![f64::NAN], vec![0.0, 0.0]] {
            let chart = Chart::new(Scale::costs(values.clone()), Scale::linear(values), "x", "y");
            let picture = chart.finish("t");
            assert!(picture.starts_with("<svg") && !picture.contains("NaN"), "{picture}");
        }
    }

    #[test]
    fn names_cannot_escape_into_the_page() {
        let mut chart = Chart::new(Scale::linear([0.0, 1.0]), Scale::linear([0.0, 1.0]), "<x>", "y");
        chart.dot("c0", (0.5, 0.5), "<script>", "\"quoted\"");
        let picture = chart.finish("a & b");
        assert!(
            !picture.contains("<script>")
                && picture.contains("&lt;script&gt;")
                && picture.contains("a &amp; b")
        );
    }
}
