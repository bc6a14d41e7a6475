"""What entries mean to people, pure: events, past balances, questions and decisions."""
