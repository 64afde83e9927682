"""What tests share: made data, small runs, stand-ins and golden numbers."""
