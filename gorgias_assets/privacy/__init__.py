"""Personal data: the policy at the door, forgotten people, and the age of letters."""
