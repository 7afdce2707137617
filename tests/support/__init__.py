"""What tests share: a folder has one subject, and holds no test of the product."""
