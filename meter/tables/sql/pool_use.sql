-- name: coupons_left
-- The coupons of some programmes and a year that have something left: issued, granted, when that
-- began, and what each ledger day since $3 granted.
SELECT coupon.enterprise, coupon.programme, held.issued, held.granted, held.began, held.days,
    held.grants
FROM meter.coupon CROSS JOIN LATERAL (
    SELECT sum(issued)::bigint AS issued, sum(granted)::bigint AS granted,
        min(day) FILTER (WHERE coupon_day.granted <> 0) AS began,
        array_agg(day ORDER BY day) FILTER (WHERE day >= $3::bigint) AS days,
        array_agg(coupon_day.granted ORDER BY day) FILTER (WHERE day >= $3::bigint) AS grants
    FROM meter.coupon_day
    WHERE enterprise = coupon.enterprise AND programme = coupon.programme
        AND year = coupon.year
) AS held
WHERE coupon.programme = ANY ($1::text[]) AND coupon.year = $2 AND held.issued > held.granted
ORDER BY coupon.enterprise, coupon.programme;
