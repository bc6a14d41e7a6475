"""What entries mean to people, pure: events and past balances."""
