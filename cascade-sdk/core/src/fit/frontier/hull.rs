//! Least concave majorants in exact arithmetic (MATH.md 4).

use crate::fit::rows::table::Totals;
use std::cmp::Ordering;

/// Indices of the vertices of the least concave majorant, cheapest first, slopes strictly decreasing and positive.
///
/// The points must be sorted by cost, ascending, and of equal costs the one with the highest quality must come first;
/// points that do not raise the quality are passed over.
pub fn concave(points: &[Totals]) -> Vec<usize> {
    let mut vertices: Vec<usize> = Vec::new();
    for (index, &point) in points.iter().enumerate() {
        if vertices.last().is_some_and(|&last| point.quality <= points[last].quality) {
            continue;
        }
        while let [.., before, last] = vertices[..]
            && compare_slopes((points[before], points[last]), (points[last], point)).is_le()
        {
            vertices.pop();
        }
        vertices.push(index);
    }
    vertices
}

/// The hull vertices that bracket a budget: (index of the left one, weight of the right one, slope of the edge in
/// quality per US dollar). At a vertex the slope to its right counts, past the last it is 0.
pub fn bracket(hull: &[Totals], budget: i128) -> (usize, f64, f64) {
    let after = hull.partition_point(|vertex| vertex.cost <= budget);
    let left = after.saturating_sub(1);
    match (hull.get(left), hull.get(left + 1)) {
        (Some(a), Some(b)) => {
            let width = (b.cost - a.cost) as f64;
            let share = if after == 0 { 0.0 } else { (budget - a.cost) as f64 / width };
            (left, share, (b.quality - a.quality) as f64 / width)
        }
        _ => (left, 0.0, 0.0),
    }
}

/// Compares the slopes Δquality / Δcost of two edges whose costs do not fall from left to right.
///
/// An edge without extra cost counts as infinitely steep in the direction of its change of quality.
pub fn compare_slopes(first: (Totals, Totals), second: (Totals, Totals)) -> Ordering {
    let rise = |edge: (Totals, Totals)| (edge.1.quality - edge.0.quality, edge.1.cost - edge.0.cost);
    let ((quality, cost), (other_quality, other_cost)) = (rise(first), rise(second));
    compare_products((quality, other_cost), (other_quality, cost))
}

/// Height of `point` against the line through `left` and `right` (of lower and higher cost).
pub fn compare_to_chord(point: Totals, left: Totals, right: Totals) -> Ordering {
    compare_products(
        (point.quality - left.quality, right.cost - left.cost),
        (right.quality - left.quality, point.cost - left.cost),
    )
}

/// Compares a·b with c·d without overflow.
pub fn compare_products((a, b): (i128, i128), (c, d): (i128, i128)) -> Ordering {
    if let (Ok(a), Ok(b), Ok(c), Ok(d)) =
        (i64::try_from(a), i64::try_from(b), i64::try_from(c), i64::try_from(d))
    {
        return (i128::from(a) * i128::from(b)).cmp(&(i128::from(c) * i128::from(d)));
    }
    let sign = |x: i128, y: i128| x.signum() * y.signum();
    let (left, right) = (sign(a, b), sign(c, d));
    if left != right {
        return left.cmp(&right);
    }
    let magnitudes = wide_product(a.unsigned_abs(), b.unsigned_abs())
        .cmp(&wide_product(c.unsigned_abs(), d.unsigned_abs()));
    if left < 0 { magnitudes.reverse() } else { magnitudes }
}

/// The 256-bit product of two 128-bit numbers: high half, low half.
fn wide_product(x: u128, y: u128) -> (u128, u128) {
    const LOW: u128 = u64::MAX as u128;
    let ((x1, x0), (y1, y0)) = ((x >> 64, x & LOW), (y >> 64, y & LOW));
    let low = x0 * y0;
    let middle = x1 * y0 + (low >> 64);
    let cross = x0 * y1 + (middle & LOW);
    (x1 * y1 + (middle >> 64) + (cross >> 64), (cross << 64) | (low & LOW))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point(cost: i128, quality: i128) -> Totals {
        Totals { quality, cost }
    }

    #[test]
    fn only_strict_corners_are_vertices() {
        let points = [point(0, 0), point(1, 1), point(2, 2), point(3, 2), point(4, 3), point(9, 1)];
        assert_eq!(concave(&points), [0, 2, 4]);
        assert_eq!(concave(&[]), Vec::<usize>::new());
        assert_eq!(concave(&[point(5, 5), point(5, 4)]), [0]);
    }

    #[test]
    fn free_improvements_replace_the_left_end() {
        assert_eq!(concave(&[point(2, 5), point(3, 6)]), [0, 1]);
        assert_eq!(concave(&[point(2, 5), point(2, 4), point(3, 5)]), [0]);
    }

    #[test]
    fn products_beyond_128_bits_compare() {
        let large = i128::MAX;
        assert_eq!(compare_products((large, large), (large, large - 1)), Ordering::Greater);
        assert_eq!(compare_products((-large, large), (large, -large)), Ordering::Equal);
        assert_eq!(compare_products((-large, large), (large, 1 - large)), Ordering::Less);
        assert_eq!(compare_products((i128::MIN, 1), (0, large)), Ordering::Less);
    }

    proptest! {
        #[test]
        fn wide_products_agree_with_narrow_ones(a in any::<i64>(), b in any::<i64>(), c in any::<i64>(), d in any::<i64>(), shift in 0_u32..60) {
            let narrow = (i128::from(a) * i128::from(b)).cmp(&(i128::from(c) * i128::from(d)));
            let scaled = |x: i64| i128::from(x) << shift;
            prop_assert_eq!(compare_products((scaled(a), scaled(b)), (scaled(c), scaled(d))), narrow);
        }

        #[test]
        fn nothing_lies_above_the_majorant(mut raw in prop::collection::vec((0_i128..40, 0_i128..40), 1..30)) {
            raw.sort_by_key(|&(cost, quality)| (cost, -quality));
            let points: Vec<Totals> = raw.iter().map(|&(cost, quality)| point(cost, quality)).collect();
            let hull: Vec<Totals> = concave(&points).into_iter().map(|index| points[index]).collect();
            for edge in hull.windows(2) {
                prop_assert!(edge[0].cost < edge[1].cost && edge[0].quality < edge[1].quality);
                for &point in points.iter().filter(|point| (edge[0].cost..=edge[1].cost).contains(&point.cost)) {
                    prop_assert!(compare_to_chord(point, edge[0], edge[1]).is_le());
                }
            }
            for corner in hull.windows(3) {
                prop_assert!(compare_slopes((corner[0], corner[1]), (corner[1], corner[2])).is_gt());
            }
            let best = points.iter().map(|point| point.quality).max();
            prop_assert_eq!(hull.last().map(|point| point.quality), best);
        }
    }
}
