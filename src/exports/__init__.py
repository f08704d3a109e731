"""Policies for programs without Tandem."""
