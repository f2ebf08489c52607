"""What each reason means to a postmaster and what to try, by part of the product."""
